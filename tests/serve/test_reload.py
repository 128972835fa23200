"""An index that is updated or replaced while it is served: no request is lost, and never another space."""

import shutil
import threading
from dataclasses import replace

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.search.searcher import Searcher
from leafkit.serve.indexes import ServedIndex, name_indexes
from tests.fixtures.packages import update_vectors
from tests.serve.conftest import client_of


@pytest.fixture
def folder(vectors_index, tmp_path):
    return shutil.copytree(vectors_index, tmp_path / "docs.index")


VECTOR = numpy.ones(384, dtype=numpy.float32)


def served(folder):
    return ServedIndex("docs", folder, encoder=None, verify=True)


def test_an_update_is_seen_and_the_old_index_still_answers(folder):
    one = served(folder)
    old = one.opened
    one.look()
    assert one.opened is old
    update_vectors(folder, remove=["doc 1", "doc 2"])
    one.look()
    assert (len(old.searcher), len(one.opened.searcher), one.opened.number, one.reloads) == (60, 58, 2, 1)
    assert one.problem is None
    assert len(old.searcher.search(VECTOR, 60)) == 60


def test_an_update_opens_neither_the_student_nor_the_teacher_again(index, build, tmp_path):
    folder, calls = shutil.copytree(index, tmp_path / "docs.index"), []

    def open_teacher(folder):
        calls.append(folder)
        return Searcher.open(folder).encoder

    one = ServedIndex("docs", folder, encoder=None, verify=True, teacher=open_teacher)
    old = one.opened
    old.search("a file", effort="teacher")
    update_vectors(folder, remove=["doc 1"])
    one.look()
    assert one.opened is not old
    assert one.opened.encoder is old.encoder
    one.opened.search("a file", effort="teacher")
    # A new rotation changes how the teacher is fitted to the index, and not the teacher.
    other = build(rotate="random", student=None)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    rotated = one.opened.searcher.reload()
    assert len(rotated.search("a file", effort="teacher")) == 10
    assert calls == [folder]


def test_an_index_of_another_space_is_reported_and_not_served(folder, build, student_space, caplog):
    one = served(folder)
    old = one.opened
    other = build(space=replace(student_space, weights="name:other"), student=None)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    one.look()
    one.look()
    assert one.opened is old
    assert "holds vectors of another space" in one.problem
    assert "Restart the server" in one.problem
    assert caplog.text.count("another space") == 1


def test_an_index_that_lost_its_student_is_reported_and_not_served(index, vectors_index, tmp_path):
    folder = shutil.copytree(index, tmp_path / "docs.index")
    one = served(folder)
    shutil.rmtree(folder)
    shutil.copytree(vectors_index, folder)
    one.look()
    assert "no student inside" in one.problem
    assert len(one.opened.searcher.search("copy a file")) == 10


def test_a_folder_that_is_gone_or_damaged_keeps_the_open_index_until_it_is_whole_again(folder, build, monkeypatch):
    one = served(folder)
    whole = build(rows=70, student=None)
    shutil.rmtree(folder)
    one.look()
    assert "is not an index" in one.problem
    shutil.copytree(whole, folder)
    (folder / "index-1.faiss").write_bytes(b"half")
    one.look()
    assert "has 4 bytes" in one.problem
    shutil.copy(whole / "index-1.faiss", folder)
    one.look()
    assert "has 4 bytes" in one.problem, "the same content is not opened again at once"
    monkeypatch.setattr("leafkit.serve.indexes.time.monotonic", lambda: 1e12)
    one.look()
    assert one.problem is None
    assert len(one.opened.searcher) == 70
    assert len(one.opened.searcher.search(VECTOR, 60)) == 60


def test_requests_during_updates_all_have_an_answer(folder):
    sizes, failures, done = set(), [], threading.Event()

    with client_of(folder, watch=0.01) as client:

        def ask():
            while not done.is_set():
                answer = client.post("/search", json={"vector": VECTOR.tolist(), "k": 60})
                if answer.status_code == 200:
                    sizes.add(len(answer.json()["hits"]))
                else:
                    failures.append(answer.text)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(3):
            update_vectors(folder, remove=[f"doc {number}"])
            assert waited(lambda left=59 - number: left in sizes), sizes
        done.set()
        for thread in threads:
            thread.join()
        info = client.get("/info").json()["indexes"]["docs"]
    assert not failures
    assert sizes == {60, 59, 58, 57}
    assert (info["documents"], info["reloads"], info["problem"]) == (57, 3, None)


def test_health_which_needs_no_key_does_not_name_a_folder_that_was_not_reopened(folder):
    with client_of(folder, watch=0.01) as client:
        (folder / "manifest.json").write_text("{}")
        assert waited(lambda: client.get("/info").json()["indexes"]["docs"]["problem"])
        health = client.get("/health")
        assert str(folder) in client.get("/info").text
    assert health.status_code == 200
    assert "not opened again" in health.json()["indexes"]["docs"]
    assert str(folder.parent) not in health.text


def waited(condition):
    """Wait until ``condition`` holds, for at most 20 s."""
    ending = threading.Event()
    return any(condition() or ending.wait(0.02) for _ in range(1000))


def test_an_index_is_named_after_its_folder_or_as_asked(tmp_path):
    (tmp_path / "a=b").mkdir()
    names = name_indexes([tmp_path / "docs.index", f"faq={tmp_path}/other", str(tmp_path / "a=b")])
    assert list(names) == ["docs", "faq", "a=b"]
    assert names["faq"] == tmp_path / "other"
    assert name_indexes({"x": "docs.index"})["x"].name == "docs.index"
    with pytest.raises(OptionError, match="two indexes are called docs"):
        name_indexes(["a/docs.index", "b/docs.index"])
    with pytest.raises(OptionError, match="no index is given"):
        name_indexes([])
