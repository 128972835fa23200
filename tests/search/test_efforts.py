"""`Searcher.search(..., effort=)`: which student encodes a query, when it is opened, and what happens to its files."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.search.encoders import LazyEncoder, OneAtATime
from leafkit.search.query_encoder import QueryEncoder
from leafkit.search.searcher import Hits, Searcher
from leafkit.space import Space
from leafkit.students.folder import read_student
from tests.fixtures.packages import drawn_vectors, index_vectors, update_vectors

TEXTS = ["copy a file", "git commit branch 3", "kill process 12"]
IDS = [f"doc {row}" for row in range(100)]


class Letters:
    """A teacher that counts letters: small and real, and it needs no model."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def encode(self, texts: Sequence[str], role: str) -> numpy.ndarray:
        """A row of counts for each text."""
        rows = numpy.zeros((len(texts), self.space.dim), dtype=numpy.float32)
        for row, text in zip(rows, texts, strict=True):
            numpy.add.at(row, [ord(letter) % self.space.dim for letter in text], 1)
        return rows


@pytest.fixture
def teacher(exported: Path) -> Letters:
    """A teacher of the students' space."""
    return Letters(read_student(exported).space)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the students that were opened, in order."""
    names: list[str] = []
    read = QueryEncoder.read

    def noted(root: Path, *given: Any, **options: Any) -> QueryEncoder:
        names.append(root.name)
        return read(root, *given, **options)

    monkeypatch.setattr(QueryEncoder, "read", noted)
    return names


def found(hits: Sequence[Hits]) -> list[tuple[list[str], list[float]]]:
    return [(one.ids, one.scores.tolist()) for one in hits]


def test_each_effort_has_the_hits_of_its_student_alone(ladder: Path, exported: Path, table_student: Path) -> None:
    searcher = Searcher.open(ladder)
    assert searcher.efforts == ("table", "full")
    by_table, by_full = (Searcher.open(ladder, encoder=folder).search(TEXTS) for folder in (table_student, exported))
    assert found(by_table) != found(by_full)
    assert found(searcher.search(TEXTS, effort="table")) == found(by_table)
    assert found(searcher.search(TEXTS, effort="full")) == found(searcher.search(TEXTS)) == found(by_full)
    hybrid = searcher.search("doc 7", hybrid=0.5, effort="table")
    assert found([hybrid]) == found([Searcher.open(ladder, encoder=table_student).search("doc 7", hybrid=0.5)])


def test_a_student_is_opened_when_it_is_first_used(ladder: Path, opened: list[str]) -> None:
    searcher = Searcher.open(ladder)
    searcher.search(numpy.ones(32, dtype=numpy.float32))
    assert opened == []
    for _ in range(2):
        searcher.search(TEXTS, effort="table")
    assert opened == ["encoder-table"]
    searcher.search(TEXTS)
    assert searcher.encoder_of("full") is searcher.encoder
    assert opened == ["encoder-table", "encoder"]


def test_an_only_student_is_opened_at_once(exported: Path, tmp_path: Path, opened: list[str]) -> None:
    space = read_student(exported).space
    index = index_vectors(IDS[:5], drawn_vectors(5, space.dim), space, tmp_path / "i", student=exported)
    searcher = Searcher.open(index)
    assert opened == ["encoder"]
    assert searcher.efforts == ("full",)
    assert found([searcher.search("a", effort="full")]) == found([searcher.search("a")])


def test_many_threads_open_a_student_once(ladder: Path, opened: list[str]) -> None:
    expected = found(Searcher.open(ladder).search(TEXTS, effort="table"))
    opened.clear()
    searcher, start = Searcher.open(ladder), threading.Barrier(8)

    def search(_: int) -> list[tuple[list[str], list[float]]]:
        start.wait()
        return found(searcher.search(TEXTS, effort="table"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(search, range(8))) == [expected] * 8
    assert opened == ["encoder-table"]


def test_after_an_error_a_student_is_opened_again(teacher: Letters) -> None:
    tries = iter([OSError("the disk is away"), teacher])

    def open_it() -> Letters:
        one = next(tries)
        if isinstance(one, OSError):
            raise one
        return one

    lazy = LazyEncoder(open_it)
    with pytest.raises(OSError, match="the disk is away"):
        lazy.get()
    assert lazy.get() is lazy.get() is teacher


@pytest.mark.parametrize("change", ["updated", "replaced", "deleted"])
def test_a_student_that_was_not_used_yet_survives_what_happens_to_the_folder(
    ladder: Path, exported: Path, tmp_path: Path, change: str
) -> None:
    copy = shutil.copytree(ladder, tmp_path / "copy")
    expected, searcher = found(Searcher.open(copy).search(TEXTS, effort="table")), Searcher.open(copy)
    space, row = read_student(exported).space, drawn_vectors(1, 32)
    if change == "updated":
        update_vectors(copy, remove=IDS[:50], compact=True)
    elif change == "replaced":
        index_vectors(["other"], row, space, copy, student=exported, overwrite=True)
    else:
        shutil.rmtree(copy)
    assert found(searcher.search(TEXTS, effort="table")) == expected


def test_reload_gives_the_new_content_and_opens_no_student_again(
    ladder: Path, exported: Path, teacher: Letters, tmp_path: Path, opened: list[str]
) -> None:
    copy = shutil.copytree(ladder, tmp_path / "copy")
    calls: list[Letters] = []
    before = Searcher.open(copy, teacher=lambda: calls.append(teacher) or teacher)
    expected = found(before.search(TEXTS, effort="table"))
    before.search("a", effort="teacher")
    assert before.reload() is before

    gone = expected[0][0][:2]
    update_vectors(copy, remove=gone)
    after = before.reload()
    assert after is not before
    assert len(after) == len(before) - 2
    assert not {*gone} & {*after.search(TEXTS[0], effort="table").ids}
    assert found(before.search(TEXTS, effort="table")) == expected
    after.search(TEXTS)
    after.search("a", effort="teacher")
    assert opened == ["encoder-table", "encoder"]
    assert len(calls) == 1

    index_vectors(IDS[:5], drawn_vectors(5, 32), read_student(exported).space, copy, student=exported, overwrite=True)
    replaced = after.reload()
    assert replaced.efforts == ("full", "teacher")
    replaced.search("a")
    shutil.rmtree(copy)
    assert replaced.encoder is after.encoder  # the same files under the same name
    with pytest.raises(InputError, match="is not an index"):
        replaced.reload()


def test_reload_opens_a_student_whose_files_differ(
    exported: Path, table_student: Path, tmp_path: Path, opened: list[str]
) -> None:
    space, vectors = read_student(exported).space, drawn_vectors(5, 32)
    index = index_vectors(IDS[:5], vectors, space, tmp_path / "i", student=exported)
    before = Searcher.open(index)
    index_vectors(IDS[:5], vectors, space, index, student=table_student, overwrite=True)
    after = before.reload()
    assert opened == ["encoder", "encoder"]
    assert found([after.search("a")]) != found([before.search("a")])


def test_reload_opens_a_given_student_again_if_its_folder_has_changed(
    ladder: Path, exported: Path, table_student: Path, tmp_path: Path
) -> None:
    index, student = shutil.copytree(ladder, tmp_path / "i"), shutil.copytree(exported, tmp_path / "student")
    before = Searcher.open(index, encoder=student)
    update_vectors(index, remove=IDS[:1])
    same = before.reload()
    assert same.encoder is before.encoder
    shutil.rmtree(student)
    shutil.copytree(table_student, student)
    update_vectors(index, remove=IDS[1:2])
    expected = Searcher.open(index, encoder=table_student)
    assert found([same.reload().search("a")]) == found([expected.search("a")])


def test_an_unknown_effort_is_refused_and_the_known_ones_are_named(ladder: Path) -> None:
    searcher: Any = Searcher.open(ladder)
    for effort, message in (
        ("tabel", r"no effort 'tabel'; did you mean 'table'\?$"),
        ("best", r"no effort 'best'; expected one of table, full\.$"),
        (["full"], r"no effort \['full'\]"),
        ("teacher", r"opened without its teacher \(it has table, full\)"),
    ):
        with pytest.raises(OptionError, match=message):
            searcher.search("a", effort=effort)
    with pytest.raises(OptionError, match="effort chooses what encodes a text, but a vector is given"):
        searcher.search(numpy.ones(32, dtype=numpy.float32), effort="full")


def test_an_index_without_a_student_has_no_effort(teacher: Letters, tmp_path: Path) -> None:
    index = index_vectors(IDS[:5], drawn_vectors(5, 32), teacher.space, tmp_path / "i")
    for effort in ("full", None, "teacher"):
        with pytest.raises(OptionError, match="was built without a student"):
            Searcher.open(index).search("a", effort=effort)
    with_teacher = Searcher.open(index, teacher=teacher)
    assert with_teacher.efforts == ("teacher",)
    assert len(with_teacher.search("a", effort="teacher")) == 5
    with pytest.raises(OptionError, match="was built without a student"):
        with_teacher.search("a")


def test_the_teacher_is_called_for_at_its_first_use(ladder: Path, teacher: Letters) -> None:
    calls: list[Letters] = []
    searcher = Searcher.open(ladder, teacher=lambda: calls.append(teacher) or teacher)
    assert searcher.efforts == ("table", "full", "teacher")
    searcher.search(TEXTS)
    assert calls == []
    expected = found(Searcher.open(ladder, encoder=teacher).search(TEXTS))
    for _ in range(2):
        assert found(searcher.search(TEXTS, effort="teacher")) == expected
    assert len(calls) == 1


def test_a_teacher_encodes_for_one_thread_at_a_time(ladder: Path, teacher: Letters) -> None:
    inside, most, encode = 0, 0, teacher.encode

    def watched(texts: Sequence[str], role: str) -> numpy.ndarray:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1
        return encode(texts, role)

    teacher.encode = watched
    shared = OneAtATime(teacher)
    searchers = [Searcher.open(ladder, teacher=shared) for _ in range(2)]  # as before and after an update
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: searchers[number % 2].search("a", effort="teacher"), range(16)))
    assert most == 1


def test_a_teacher_that_is_no_encoder_is_refused_when_the_index_is_opened(ladder: Path) -> None:
    name: Any = "BAAI/bge-small-en-v1.5"
    with pytest.raises(OptionError, match=r"teacher is 'BAAI/bge-small-en-v1\.5'; expected an encoder, or a function"):
        Searcher.open(ladder, teacher=name)


def test_a_teacher_of_another_space_is_refused_at_its_first_use(ladder: Path, teacher: Letters) -> None:
    other = Letters(Space(teacher="other", weights="name:other", dim=32, normalised=True, pooling="mean", max_length=9))
    searcher = Searcher.open(ladder, teacher=other)
    with pytest.raises(SpaceError, match="the teacher"):
        searcher.search("a", effort="teacher")


def test_a_rotated_index_has_the_same_hits_for_every_effort(
    ladder: Path, exported: Path, table_student: Path, teacher: Letters, tmp_path: Path
) -> None:
    students = [exported, table_student]
    rows, space = drawn_vectors(100, 32), teacher.space
    turned = index_vectors(IDS, rows, space, tmp_path / "turned", student=students, rotate="random")
    plain, turned = (Searcher.open(index, teacher=teacher) for index in (ladder, turned))
    for effort in ("table", "full", "teacher"):
        for one, other in zip(plain.search(TEXTS, effort=effort), turned.search(TEXTS, effort=effort), strict=True):
            assert one.ids == other.ids
            numpy.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_a_folded_index_refuses_its_teacher(exported: Path, teacher: Letters, tmp_path: Path) -> None:
    index = index_vectors(IDS[:40], drawn_vectors(40, 32), teacher.space, tmp_path / "folded", fold=exported)
    searcher = Searcher.open(index, teacher=teacher)
    assert len(searcher.search("a", effort="full")) == 10
    with pytest.raises(SpaceError, match="folded for the student inside it"):
        searcher.search("a", effort="teacher")
