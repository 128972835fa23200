"""Building an index: documents are read first and encoded once, and the package appears complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pyarrow
import pytest
from pyarrow import parquet

from leafkit.errors import InputError, OptionError, OutputError, SpaceError, TextError, VectorError
from leafkit.index.build import build_index
from leafkit.index.update import update_index
from leafkit.search import faiss_index
from leafkit.search.manifest import read_manifest
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from leafkit.teachers.embed import embed
from leafkit.teachers.open import open_teacher
from leafkit.texts.read import FIRST_ROWS
from tests.fixtures.packages import index_vectors


@pytest.fixture
def documents(tmp_path: Path, sentences: list[str]) -> Path:
    """Two hundred documents with titles and one more column."""
    rows = [{"_id": f"d{i}", "title": f"list {i}", "text": text, "year": 2000 + i} for i, text in enumerate(sentences)]
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_documents_are_encoded_with_their_titles_and_keep_their_columns(
    documents: Path, tiny_teacher: Path, sentences: list[str], tmp_path: Path
) -> None:
    index = build_index(documents, tiny_teacher, tmp_path / "index")
    teacher = open_teacher(tiny_teacher)
    searcher = Searcher.open(index, encoder=teacher)
    assert searcher.space == teacher.space
    vectors = teacher.encode([f"list {i} {text}" for i, text in enumerate(sentences)], "document")
    for row, hits in enumerate(searcher.search(vectors, 1)):
        assert hits.ids == [f"d{row}"]
        assert hits.payload == [{"title": f"list {row}", "text": sentences[row], "year": 2000 + row}]
        assert hits.scores[0] == pytest.approx(1, abs=1e-3)


def test_the_teacher_encodes_each_document_once(documents: Path, tiny_teacher: Path, tmp_path: Path) -> None:
    teacher = open_teacher(tiny_teacher)
    build_index(documents, teacher, tmp_path / "one", cache=tmp_path / "cache")

    class FailingTeacher:
        space, signals = teacher.space, teacher.signals

        def encode(self, texts: list[str], role: str) -> numpy.ndarray:
            raise RuntimeError("asked again")

    build_index(documents, FailingTeacher(), tmp_path / "two", cache=tmp_path / "cache", precision="int8")
    with pytest.raises(RuntimeError):
        build_index(documents, FailingTeacher(), tmp_path / "three", cache=tmp_path / "other")


def test_an_update_opens_the_teacher_of_the_build(
    documents: Path, tiny_teacher: Path, other_teacher: Path, tmp_path: Path
) -> None:
    index = build_index(documents, tiny_teacher, tmp_path / "index", max_length=32)
    (tmp_path / "more.txt").write_text("compress a folder\n", encoding="utf-8")
    counts = update_index(index, add=tmp_path / "more.txt", remove=["d0"])
    assert (counts.added, counts.removed, counts.count) == (1, 1, 200)
    teacher = open_teacher(tiny_teacher, max_length=32)
    hits = Searcher.open(index).search(teacher.encode(["compress a folder"], "document"), 1)[0]
    assert hits.ids == ["more.txt:1"]
    for wrong in (other_teacher, tiny_teacher):
        with pytest.raises(SpaceError):
            update_index(index, add=tmp_path / "more.txt", teacher=wrong)


@pytest.mark.parametrize("name", ["vectors.parquet", "vectors.npy"])
def test_a_vectors_file_is_both_documents_and_teacher(
    documents: Path, tiny_teacher: Path, sentences: list[str], tmp_path: Path, name: str
) -> None:
    vectors = embed(documents, tiny_teacher, tmp_path / name)
    index = build_index(vectors, vectors, tmp_path / "index")
    teacher = open_teacher(tiny_teacher)
    hits = Searcher.open(index, encoder=teacher).search(sentences[0], 3)
    again = build_index(documents, tiny_teacher, tmp_path / "again")
    expected = Searcher.open(again, encoder=teacher).search(sentences[0], 3)
    assert (hits.ids, hits.payload) == (expected.ids, expected.payload)


def test_a_vectors_file_of_another_tool_is_indexed_with_its_other_columns(
    tiny_teacher: Path, sentences: list[str], tmp_path: Path
) -> None:
    vectors = open_teacher(tiny_teacher).encode(sentences[:9], "document")
    columns = {"content": sentences[:9], "title": ["On"] * 9, "embedding": list(vectors), "emb": ["kept"] * 9}
    parquet.write_table(pyarrow.table(columns), tmp_path / "export.parquet")
    index = build_index(tmp_path / "export.parquet", tmp_path / "export.parquet", tmp_path / "index")
    hits = Searcher.open(index).search(vectors[3], 1)
    assert hits.scores[0] == pytest.approx(1, abs=1e-5)
    assert hits.payload == [{"title": "On", "text": sentences[3], "emb": "kept"}]


def test_a_folder_of_parquet_files_is_both_documents_and_teacher(
    documents: Path, tiny_teacher: Path, sentences: list[str], tmp_path: Path
) -> None:
    whole = parquet.read_table(embed(documents, tiny_teacher, tmp_path / "whole.parquet"))
    (tmp_path / "parts").mkdir()
    for part, start in enumerate(range(0, 200, 70)):
        parquet.write_table(whole.slice(start, 70), tmp_path / "parts" / f"{part}.parquet")
    index = build_index(tmp_path / "parts", tmp_path / "parts", tmp_path / "index")
    again = build_index(tmp_path / "whole.parquet", tmp_path / "whole.parquet", tmp_path / "again")
    teacher = open_teacher(tiny_teacher)
    hits, expected = (Searcher.open(each, encoder=teacher).search(sentences[150], 3) for each in (index, again))
    assert (hits.ids, hits.payload) == (expected.ids, expected.payload)


def test_missing_documents_raise_an_error_before_the_teacher_is_opened(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"missing.jsonl"):
        build_index(tmp_path / "missing.jsonl", "no-such-teacher", tmp_path / "index")


def test_text_column_names_the_column_of_the_text(tiny_teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"text": "short", "content": "a long text", "emb": ["no", "vector"]}\n')
    index = build_index(tmp_path / "docs.jsonl", tiny_teacher, tmp_path / "index", text_column="content")
    teacher = open_teacher(tiny_teacher)
    hits = Searcher.open(index, encoder=teacher).search(teacher.encode(["a long text"], "document")[0], 1)
    assert hits.payload == [{"text": "a long text", "emb": ["no", "vector"]}]
    assert hits.scores[0] == pytest.approx(1, abs=1e-3)


def test_texts_with_the_role_query_are_skipped(
    tiny_teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"text": "a list"}, {"text": "show a list", "role": "query"}]
    (tmp_path / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    index = build_index(tmp_path / "mixed.jsonl", tiny_teacher, tmp_path / "index")
    assert read_manifest(index).count == 1
    assert "skipped 1 texts with the role query" in caplog.text


def test_a_repeated_id_is_an_error_or_skipped(tiny_teacher: Path, tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "show"}, {"id": "b", "text": "list"}, {"id": "a", "text": "print"}, {"id": "c"}]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    with pytest.raises(TextError, match=r"'a' \(document 3\)"):
        build_index(tmp_path / "docs.jsonl", tiny_teacher, tmp_path / "index")
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(TextError, match=r"docs\.jsonl:4"):
        build_index(tmp_path / "docs.jsonl", tiny_teacher, tmp_path / "index")
    assert not (tmp_path / "index").exists()
    index = build_index(tmp_path / "docs.jsonl", tiny_teacher, tmp_path / "index", skip_bad=True)
    assert sorted(Searcher.open(index).search(numpy.ones(32)).ids) == ["a", "b"]


def test_invalid_options_raise_an_error_before_all_texts_are_read(tiny_teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('{"text": "list"}\n' * FIRST_ROWS + "no JSON\n")
    for options in ({"dim": 33}, {"precision": "int2"}, {"factory": "Nonsense"}, {"rescore": "x"}, {"threads": 0}):
        with pytest.raises(OptionError):
            build_index(tmp_path / "broken.jsonl", tiny_teacher, tmp_path / "index", **options)


def test_an_output_that_is_not_an_index_is_never_overwritten(
    tmp_path: Path, vectors: numpy.ndarray, ids: list[str], space: Space
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "a web app"}')
    for out in ("mine", "file", "app"):
        for overwrite in (False, True):
            with pytest.raises(OutputError):
                index_vectors(ids, vectors, space, tmp_path / out, overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "app" / "manifest.json").exists()
    index = index_vectors(ids, vectors, space, tmp_path / "new")
    with pytest.raises(OutputError, match="--overwrite"):
        index_vectors(ids[:5], vectors[:5], space, index)
    assert len(Searcher.open(index)) == 500
    index_vectors(ids[:5], vectors[:5], space, index, overwrite=True)
    assert len(Searcher.open(index)) == 5


@pytest.mark.parametrize("space_left", [0, 10_000, 200_000])
def test_a_full_disk_while_writing_leaves_nothing(
    tmp_path: Path,
    vectors: numpy.ndarray,
    ids: list[str],
    space: Space,
    monkeypatch: pytest.MonkeyPatch,
    space_left: int,
) -> None:
    written = 0

    class FullDisk:
        def __init__(self, file: object) -> None:
            self.file = file

        def write(self, content: bytes) -> int:
            nonlocal written
            written += len(content)
            if written > space_left:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(content)

        def __enter__(self) -> FullDisk:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    for module in ("leafkit.index.vector_files", "leafkit.search.faiss_index"):
        opener = lambda *a: FullDisk(open(*a))  # noqa: E731, SIM115
        monkeypatch.setattr(f"{module}.open", opener, raising=False)
    with pytest.raises(OutputError, match="disk is full"):
        index_vectors(ids, vectors, space, tmp_path / "index", factory="HNSW16")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_faiss_is_shown_with_its_reason(
    tmp_path: Path, vectors: numpy.ndarray, ids: list[str], space: Space
) -> None:
    with pytest.raises(OptionError, match="FAISS cannot train this factory on 500 vectors"):
        index_vectors(ids, vectors, space, tmp_path / "index", factory="IVF4096")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_stopped_leaves_no_index(tmp_path: Path, how: signal.Signals) -> None:
    program = f"""
import numpy
from leafkit.space import Space
from tests.fixtures.packages import index_vectors
space = Space(teacher="t", weights="name:t", dim=64, normalised=True, pooling="mean", max_length=64)
rows = numpy.random.default_rng(0).standard_normal((60_000, 64))
print("ready", flush=True)
index_vectors([str(i) for i in range(60_000)], rows, space, {str(tmp_path / "index")!r}, factory="HNSW64", threads=1)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as build:
        build.stdout.readline()
        time.sleep(1.5)
        os.kill(build.pid, how)
        build.wait(30)
    assert build.returncode != 0
    assert not (tmp_path / "index").exists()
    if how == signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def test_vectors_that_are_invalid_raise_an_error(
    tmp_path: Path, vectors: numpy.ndarray, ids: list[str], space: Space
) -> None:
    broken, zero = vectors.copy(), vectors.copy()
    broken[3, 3], zero[4] = numpy.inf, 0
    for bad, message in (
        (broken, "row 3"),
        (zero, "row 4"),
        (vectors[:, :32], "64"),
        (vectors[:9], "9 vectors for 500 texts"),
    ):
        with pytest.raises(VectorError, match=message):
            index_vectors(ids, bad, space, tmp_path / "index")
    with pytest.raises(TextError, match=r"document ids must be unique.*'a' .document 2"):
        index_vectors(["a"] * 500, vectors, space, tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_a_student_raises_an_error_before_documents_are_encoded(
    documents: Path, tiny_teacher: Path, tmp_path: Path
) -> None:
    for student in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError):
            build_index(documents, tiny_teacher, tmp_path / "index", student=student)


def test_equal_seeds_write_equal_files(tmp_path: Path, vectors: numpy.ndarray, ids: list[str], space: Space) -> None:
    for factory in ("IVF8,PQ8x4", "HNSW16", "SQ8"):
        names = [f"{factory} {run}" for run in (1, 2)]
        one, two = (index_vectors(ids, vectors, space, tmp_path / name, factory=factory, threads=1) for name in names)
        assert read_manifest(one).files == read_manifest(two).files


def test_the_number_of_faiss_threads_is_restored() -> None:
    before = faiss_index.api.omp_get_max_threads()
    with faiss_index.faiss_threads(before + 1):
        assert faiss_index.api.omp_get_max_threads() == before + 1
    assert faiss_index.api.omp_get_max_threads() == before
