"""An update adds and removes documents without a rebuild, and whatever stops it leaves the old index or the new one."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leafkit.errors import DamageError, InputError, OptionError, OutputError, SpaceError, TextError, VectorError
from leafkit.index.next_generation import UpdateCounts
from leafkit.index.recorded_teacher import open_index_teacher
from leafkit.index.update import read_ids, update_index
from leafkit.search.manifest import LEXICAL_PARTS
from leafkit.search.package import open_package
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import GivenVectors, index_vectors, update_vectors

Make = Callable[..., Path]
KINDS = [
    ("float32", None),
    ("float16", None),
    ("int8", None),
    ("binary", None),
    ("binary", "BHNSW16"),
    ("binary", "BIVF8"),
    ("float32", "HNSW16"),
    ("int8", "IVF8"),
    ("float32", "PQ8x4"),
    ("float32", "PQ8x4fs"),
    ("float32", "IVF8,RaBitQ"),
    ("float32", "RaBitQfs"),
    ("float32", "IVF8,PQ8x4fs,RFlat"),
    ("float32", "IVF8,PQ8x4fs,Refine(SQ8)"),
    ("float32", "PCA32,IVF8,SQ8"),
]


def found(index: Path, vectors: numpy.ndarray, k: int = 10) -> list[tuple[list[str], list[float]]]:
    return [(hits.ids, hits.scores.tolist()) for hits in Searcher.open(index).search(vectors, k)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("precision", "factory"), KINDS)
@pytest.mark.parametrize("compact", [False, True])
def test_a_search_finds_added_ids_and_no_removed_ones(
    make: Make, vectors: numpy.ndarray, ids: list[str], precision: str, factory: str | None, compact: bool
) -> None:
    index = make(precision=precision, factory=factory)
    gone = ids[:400:3]
    counts = update_vectors(index, ids=ids[400:], vectors=vectors[400:], remove=[*gone, "never"], compact=compact)
    assert counts == UpdateCounts(added=100, removed=len(gone), missing=1, count=500 - len(gone))
    searcher = Searcher.open(index)
    assert len(searcher) == counts.count
    assert searcher.manifest.rows == counts.count + (0 if compact else len(gone))
    for row, hits in enumerate(searcher.search(vectors, 3)):
        assert not set(hits.ids) & set(gone)
        assert (hits.ids[0] == ids[row]) == (ids[row] not in gone)
        assert hits.scores[0] <= 1
        true = numpy.array([vectors[row] @ vectors[ids.index(name)] for name in hits.ids])
        # Components of added documents are clipped to the range of the first 400 documents.
        numpy.testing.assert_allclose(hits.scores, true, atol=2e-2 if "8" in f"{precision}{factory}" else 5e-3)
    everything = searcher.search(vectors[0], 1000).ids
    assert sorted(everything) == sorted(set(ids) - set(gone))


@pytest.mark.parametrize("compact", [False, True])
def test_an_updated_exact_index_answers_like_one_built_anew(
    make: Make, vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path, compact: bool
) -> None:
    index = make()
    update_vectors(index, ids=ids[400:], vectors=vectors[400:], remove=ids[:50], compact=compact)
    fresh = index_vectors(ids[50:], vectors[50:], space, tmp_path / "fresh")
    assert found(index, vectors) == found(fresh, vectors)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_sequence_of_updates_matches_the_same_operations_on_a_set(
    tmp_path_factory: pytest.TempPathFactory, vectors: numpy.ndarray, ids: list[str], space: Space, data: st.DataObject
) -> None:
    index = index_vectors(ids[:20], vectors[:20], space, tmp_path_factory.mktemp("run") / "index", precision="int8")
    alive = set(range(20))
    for _ in range(data.draw(st.integers(1, 5))):
        remove = data.draw(st.sets(st.integers(0, 60), max_size=30))
        add = sorted(data.draw(st.sets(st.integers(0, 60), max_size=20)))
        compact = data.draw(st.sampled_from([None, True, False]))
        counts = update_vectors(
            index,
            ids=[ids[row] for row in add],
            vectors=vectors[add].reshape(-1, 64),
            remove=[ids[row] for row in remove],
            replace=True,
            compact=compact,
        )
        assert (counts.removed, counts.missing) == (len(alive & remove), len(remove - alive))
        alive = alive - remove | set(add)
        assert counts.count == len(alive)
        assert set(Searcher.open(index).search(vectors[0], 100).ids) == {ids[row] for row in alive}
        assert {path.name for path in index.iterdir()} == {*open_package(index, verify=True).manifest.files} | {
            "manifest.json"
        }


def test_all_documents_can_be_removed_and_added_again(make: Make, vectors: numpy.ndarray, ids: list[str]) -> None:
    for precision, compact in (("float32", False), ("int8", True), ("binary", None)):
        index = make(name=precision, precision=precision)
        assert update_vectors(index, remove=ids, compact=compact).count == 0
        hits = Searcher.open(index).search(vectors[0])
        assert (hits.ids, hits.payload, len(hits.scores)) == ([], [], 0)
        update_vectors(index, ids=ids[:3], vectors=vectors[:3])
        assert Searcher.open(index).search(vectors[1]).ids[0] == ids[1]


def test_adding_an_existing_id_is_an_error_or_replaces_the_document(
    make: Make, vectors: numpy.ndarray, ids: list[str]
) -> None:
    index = make()
    before = contents(index)
    with pytest.raises(InputError, match=r"'doc 3', 'doc 4'.*--replace"):
        update_vectors(index, ids=["new", "doc 3", "doc 4"], vectors=vectors[400:403])
    assert contents(index) == before
    assert update_vectors(index, ids=["doc 3"], vectors=vectors[400:401], replace=True).count == 400
    searcher = Searcher.open(index)
    assert searcher.search(vectors[400], 1).ids == ["doc 3"]
    assert searcher.search(vectors[3], 1).ids != ["doc 3"]
    assert searcher.search(vectors[3], 1, allow=["doc 3"]).scores[0] < 0.9


def test_an_id_may_be_removed_and_added_in_one_update(make: Make, vectors: numpy.ndarray) -> None:
    index = make()
    update_vectors(index, ids=["doc 3"], vectors=vectors[400:401], remove=["doc 3"])
    assert Searcher.open(index).search(vectors[400], 1).ids == ["doc 3"]


def test_removing_missing_ids_writes_nothing(make: Make) -> None:
    index = make()
    before = contents(index)
    assert update_vectors(index, remove=["a", "b", "a"]) == UpdateCounts(added=0, removed=0, missing=2, count=400)
    assert contents(index) == before


def test_a_small_removal_writes_only_a_bitmap(make: Make) -> None:
    index = make()
    before = contents(index)
    update_vectors(index, remove=["doc 1"])
    after = contents(index)
    assert {name for name in after if after[name] != before.get(name)} == {"live-2.npy", "manifest.json"}


def test_the_text_of_removed_documents_leaves_the_disk_when_compacted(make: Make) -> None:
    index = make()
    update_vectors(index, remove=["doc 17"])
    assert any(b'"doc 17"' in content for content in contents(index).values())
    update_vectors(index, compact=True)
    assert not any(b'"doc 17"' in content or b'"text 17"' in content for content in contents(index).values())


def test_an_index_is_compacted_when_more_than_a_fifth_of_its_rows_are_removed(make: Make, ids: list[str]) -> None:
    index = make()
    update_vectors(index, remove=ids[:80])
    assert open_package(index, verify=True).manifest.rows == 400
    update_vectors(index, remove=ids[80:90])
    assert open_package(index, verify=True).manifest.rows == 310


def test_a_large_graph_is_compacted_only_on_request(
    make: Make, ids: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("leafkit.index.next_generation.COMPACT_GRAPH_ROWS", 100)
    index = make(factory="HNSW16")
    update_vectors(index, remove=ids[:200])
    assert open_package(index, verify=True).manifest.rows == 400
    assert "200 of 400 rows" in caplog.text
    update_vectors(index, compact=True)
    assert open_package(index, verify=True).manifest.rows == 200


def test_added_documents_that_fit_the_codes_badly_cause_a_warning(
    make: Make, vectors: numpy.ndarray, ids: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    index = make(precision="int8")
    update_vectors(index, ids=["like doc 0"], vectors=vectors[:1])
    assert not caplog.text
    update_vectors(index, ids=["like doc 1", "odd"], vectors=numpy.stack([vectors[1], 9 * numpy.eye(64)[0] + 1]))
    assert "1 of 2 added documents fit the codes" in caplog.text


def test_the_warning_counts_documents_whose_cosines_may_be_off_by_more_than_two_hundredths(
    make: Make, vectors: numpy.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    """First components of the index reach from -0.37 to 0.31, so its int8 range ends at 0.41."""
    index = make(precision="int8")
    rest = vectors[400, 1:] / numpy.linalg.norm(vectors[400, 1:])
    added = [numpy.float32([first, *(rest * (1 - first**2) ** 0.5)]) for first in (0.4, 0.45)]
    update_vectors(index, ids=["inside", "outside"], vectors=numpy.stack(added))
    assert "1 of 2 added documents fit the codes" in caplog.text
    assert "their cosines may be off by 0.037" in caplog.text


def test_an_open_searcher_does_not_notice_an_update(make: Make, vectors: numpy.ndarray, ids: list[str]) -> None:
    index = make(factory="HNSW16")
    searcher = Searcher.open(index)
    before = [hits.ids for hits in searcher.search(vectors, 5)]
    update_vectors(index, ids=ids[400:], vectors=vectors[400:], remove=ids[:300], compact=True)
    assert [hits.ids for hits in searcher.search(vectors, 5)] == before


def test_opening_during_updates_always_finds_a_complete_index(
    make: Make, vectors: numpy.ndarray, ids: list[str]
) -> None:
    index = make()
    done = threading.Event()
    failures: list[Exception] = []

    def read() -> None:
        while not done.is_set():
            try:
                searcher = Searcher.open(index)
                assert len(searcher.search(vectors[0], 1000).ids) == len(searcher)
            except Exception as error:
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for row in range(400, 440):
        update_vectors(
            index, ids=[ids[row]], vectors=vectors[row : row + 1], remove=[ids[row - 400]], compact=row % 2 == 0
        )
    done.set()
    for reader in readers:
        reader.join()
    assert not failures


def test_a_second_update_at_the_same_time_raises_an_error(make: Make) -> None:
    index = make()
    program = f"""
        import sys, time
        from pathlib import Path
        from leafkit.index.package_files import writer_lock
        with writer_lock(Path({str(index)!r})):
            print("held", flush=True)
            sys.stdin.read()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match="is being updated by another process"):
            update_vectors(index, remove=["doc 1"])
        other.stdin.close()
    assert update_vectors(index, remove=["doc 1"]).removed == 1


@pytest.mark.parametrize("limit", [100, 2_000, 30_000, 100_000, 110_000])
def test_a_full_disk_leaves_the_old_index(
    make: Make, vectors: numpy.ndarray, ids: list[str], space: Space, tmp_path: Path, limit: int
) -> None:
    index = make(precision="binary", rescore="float32")
    before = contents(index)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OutputError, match="exceeds the maximum file size"):
            update_vectors(index, ids=ids[400:], vectors=vectors[400:], remove=ids[:10], compact=True)
        with pytest.raises(OutputError, match="exceeds the maximum file size"):
            index_vectors(ids, vectors, space, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(index) == before
    assert [path.name for path in tmp_path.iterdir()] == [index.name]


def test_every_new_file_reaches_the_disk_before_the_manifest_that_names_it(
    make: Make, vectors: numpy.ndarray, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make(precision="binary")
    before = contents(index)
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    update_vectors(index, ids=ids[400:], vectors=vectors[400:], remove=ids[:10])
    inodes = {path.name: path.stat().st_ino for path in index.iterdir()}
    named = flushed[: flushed.index(inodes["manifest.json"])]
    new = {name for name in contents(index) if name not in before}
    assert len(new) == 8 + len(LEXICAL_PARTS)
    assert {inodes[name] for name in new} <= set(named)


# A new process for each line of input, started without the imports: a fork of the first one.
KILLED = """
    import os, signal, sys
    import faiss, numpy, pyarrow.parquet
    from tests.fixtures.packages import update_vectors
    folders = "/leafkit/index/", "/leafkit/search/", "/leafkit/files/"
    vectors = numpy.random.default_rng(0).standard_normal((500, 64)).astype("float32")
    for line in sys.stdin:
        if not (child := os.fork()):
            break
        print(os.waitpid(child, 0)[1], flush=True)
    else:
        sys.exit()
    calls, stop = 0, int(line)

    def trace(frame, event, argument):
        global calls
        if event == "call" and any(folder in frame.f_code.co_filename for folder in folders):
            calls += 1
            if calls == stop:
                os.kill(os.getpid(), getattr(signal, sys.argv[2]))

    sys.settrace(trace)
    update_vectors(sys.argv[1], ids=["new"], vectors=vectors[:1] * 0 + 1, remove=["doc 0"], compact=True)
    sys.settrace(None)
    if stop == 0:
        print(calls)
"""


@pytest.fixture
def kill_at() -> Iterator[Callable[[Path, str], Callable[[int], list[int]]]]:
    """Return a function that starts updates of an index, each killed at a call; 0 is none, and counts the calls."""
    with contextlib.ExitStack() as stack:

        def start(index: Path, how: str) -> Callable[[int], list[int]]:
            command = [sys.executable, "-c", textwrap.dedent(KILLED), str(index), how]
            server = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            )
            assert server.stdin
            assert server.stdout
            stdin, stdout = server.stdin, server.stdout

            def run(stop: int) -> list[int]:
                stdin.write(f"{stop}\n")
                return [int(stdout.readline()) for _ in range(1 if stop else 2)]

            return run

        yield start


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_an_update_killed_anywhere_leaves_the_old_index_or_the_new_one(
    make: Make, how: str, kill_at: Callable[[Path, str], Callable[[int], list[int]]]
) -> None:
    index = make(rows=40, precision="binary")
    files = contents(index)
    one = numpy.ones(64, dtype=numpy.float32)
    run = kill_at(index, how)
    total, finished = run(0)
    assert finished == 0
    states = set()
    for stop in sorted({*range(1, total, max(1, total // 12)), *range(total - 6, total + 1)}):
        for path in index.iterdir():
            path.unlink()
        for name, content in files.items():
            (index / name).write_bytes(content)
        (status,) = run(stop)
        assert status != 0 or how == "SIGINT"
        everything = set(Searcher.open(index).search(one, 100).ids)
        old = {f"doc {row}" for row in range(40)}
        assert everything in (old, old - {"doc 0"} | {"new"})
        states.add("new" in everything)
        update_vectors(index, ids=["newer"], vectors=one[None])
        assert "newer" in Searcher.open(index).search(one, 100).ids
        assert {path.name for path in index.iterdir()} - {*open_package(index, verify=True).manifest.files} == {
            "manifest.json"
        }
    assert states == {True, False}


def test_bad_vectors_and_ids_raise_an_error_and_change_nothing(make: Make, vectors: numpy.ndarray) -> None:
    index = make()
    before = contents(index)
    bad = vectors[400:402].copy()
    bad[1, 5] = numpy.nan
    for error, arguments in (
        (VectorError, {"ids": ["a", "b"], "vectors": bad}),
        (VectorError, {"ids": ["a"], "vectors": vectors[:1] * 0}),
        (VectorError, {"ids": ["a", "b"], "vectors": vectors[:1]}),
        (VectorError, {"ids": ["a"], "vectors": vectors[:1, :32]}),
        (TextError, {"ids": ["a", "a"], "vectors": vectors[:2]}),
        (TextError, {"ids": ["a"], "vectors": vectors[:1], "payload": [{"x": {1}}]}),
    ):
        with pytest.raises(error):
            update_vectors(index, **arguments)
        assert contents(index) == before


def test_a_teacher_of_another_space_raises_an_error_and_changes_nothing(
    make: Make, vectors: numpy.ndarray, space: Space, tmp_path: Path
) -> None:
    index = make()
    before = contents(index)
    (tmp_path / "more.txt").write_text("a list\n")
    other = GivenVectors(vectors, Space(**{**vars(space), "query_prompt": "query: "}))
    with pytest.raises(SpaceError, match="query_prompt is 'query: '"):
        update_index(index, add=tmp_path / "more.txt", teacher=other)
    assert contents(index) == before
    update_index(index, add=tmp_path / "more.txt", teacher=GivenVectors(vectors[:1], space))
    assert Searcher.open(index).search(vectors[0], 2, allow=["more.txt:1"]).scores[0] == pytest.approx(1, abs=1e-6)


def test_an_update_of_a_damaged_index_raises_an_error(make: Make) -> None:
    index = make()
    content = bytearray((index / "documents-1.jsonl").read_bytes())
    content[50] ^= 1
    (index / "documents-1.jsonl").write_bytes(content)
    with pytest.raises(DamageError, match=r"documents-1\.jsonl"):
        update_vectors(index, remove=["doc 1"])


def test_an_update_asks_for_the_teacher_if_the_index_does_not_record_it(make: Make, tmp_path: Path) -> None:
    index = make()
    (tmp_path / "more.jsonl").write_text('{"text": "list the open ports"}\n')
    with pytest.raises(
        OptionError, match=r"does not record the teacher it was built with. Give the teacher with --teacher"
    ):
        update_index(index, add=tmp_path / "more.jsonl")
    with pytest.raises(OptionError, match=r"Open the teacher in Python and pass it to Searcher\.open\.$"):
        open_index_teacher(index)


def test_updating_a_folder_that_is_not_an_index_raises_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="is not an index"):
            update_index(folder, remove=["a"])


def test_ids_are_read_from_arguments_and_files(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a b\r\n\nc\n", encoding="utf-8")
    assert list(read_ids(["x", f"@{tmp_path / 'ids.txt'}", "y"])) == ["x", "a b", "c", "y"]
    for bad in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match=r"cannot be read: .* one id per line"):
            list(read_ids([f"@{bad}"]))


def test_counts_read_as_a_sentence() -> None:
    counts = UpdateCounts(added=1, removed=1200, missing=2, count=5)
    assert str(counts) == "added 1, removed 1,200 (2 more ids to remove were missing); the index holds 5 documents"
