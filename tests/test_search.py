"""The search API: what comes back for one query and many, for odd queries, and from many threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from leafkit import build_index
from leafkit.errors import InputError, OptionError, SpaceError, VectorError
from leafkit.index.build import index_vectors
from leafkit.search import Searcher
from leafkit.space import Space
from leafkit.teachers.open import open_teacher

SPACE = Space(teacher="drawn", weights="name:drawn", dim=64, normalised=True, pooling="mean", max_length=64)
VECTORS = numpy.random.default_rng(0).standard_normal((300, 64)).astype(numpy.float32)
IDS = [f"doc {row}" for row in range(300)]


class Letters:
    """An encoder of its own: counts of characters, a small real thing that needs no model."""

    space = SPACE

    def encode(self, texts: Sequence[str], role: str) -> numpy.ndarray:
        """A row of 64 counts for each text, cut at 200 characters."""
        rows = numpy.zeros((len(texts), 64), dtype=numpy.float32)
        for row, text in zip(rows, texts, strict=True):
            numpy.add.at(row, [ord(letter) % 64 for letter in text[:200]], 1)
        return rows


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred drawn vectors."""
    payload = [{"title": f"title {row}", "text": f"text {row}", "row": row} for row in range(300)]
    return index_vectors(IDS, VECTORS, SPACE, tmp_path_factory.mktemp("search") / "index", payload=payload)


@pytest.fixture(scope="module")
def searcher(index: Path) -> Searcher:
    """The index, open, with an encoder of texts."""
    return Searcher.open(index, encoder=Letters())


def test_one_query_gives_hits_and_many_give_a_list(searcher: Searcher) -> None:
    one = searcher.search(VECTORS[7], k=3)
    assert one.ids[0] == "doc 7"
    assert one.payload[0] == {"title": "title 7", "text": "text 7", "row": 7}
    assert len(one) == len(one.scores) == len(one.payload) == 3
    many = searcher.search(VECTORS[[7, 8]], k=3)
    assert [hits.ids[0] for hits in many] == ["doc 7", "doc 8"]
    assert many[0].ids == one.ids
    assert searcher.search("a query", k=2).ids == searcher.search(["a query"], k=2)[0].ids
    assert searcher.search([]) == []
    assert searcher.search(VECTORS[:0]) == []


def test_scores_are_cosines(searcher: Searcher) -> None:
    unit = VECTORS.astype(numpy.float64) / numpy.linalg.norm(VECTORS.astype(numpy.float64), axis=1, keepdims=True)
    hits = searcher.search(5 * VECTORS[3], k=300)
    numpy.testing.assert_allclose(hits.scores, [unit[3] @ unit[IDS.index(name)] for name in hits.ids], atol=1e-6)


def test_more_hits_than_documents_gives_all_documents(searcher: Searcher) -> None:
    assert len(searcher) == 300
    assert sorted(searcher.search(VECTORS[0], k=10**9).ids) == sorted(IDS)


@pytest.mark.parametrize("k", [0, -1])
def test_less_than_one_hit_is_refused(searcher: Searcher, k: int) -> None:
    with pytest.raises(OptionError, match="wanted 1 or more"):
        searcher.search(VECTORS[0], k=k)


def test_an_empty_corpus_answers_with_nothing(tmp_path: Path) -> None:
    searcher = Searcher.open(index_vectors([], VECTORS[:0], SPACE, tmp_path / "empty"), encoder=Letters())
    assert len(searcher) == 0
    assert searcher.search("anything").ids == []
    assert [hits.ids for hits in searcher.search(VECTORS[:2], allow=["a"])] == [[], []]


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_a_blank_query_is_refused_by_its_number(searcher: Searcher, query: str) -> None:
    with pytest.raises(OptionError, match="query 1 of 1"):
        searcher.search(query)
    with pytest.raises(OptionError, match="query 2 of 2"):
        searcher.search(["fine", query])


def test_an_over_long_query_is_cut_like_its_encoder_cuts(searcher: Searcher) -> None:
    long = "words " * 100_000
    assert searcher.search(long).ids == searcher.search(long[:200]).ids


@pytest.mark.parametrize(
    "query",
    [
        VECTORS[:, :63],
        VECTORS[None],
        numpy.ones(65),
        numpy.array(["text"] * 64),
        numpy.full(64, numpy.nan),
        numpy.zeros(64),
        numpy.array(3.0),
    ],
)
def test_vectors_that_are_no_queries_are_refused(searcher: Searcher, query: numpy.ndarray) -> None:
    with pytest.raises((VectorError, OptionError)):
        searcher.search(query)


def test_queries_of_whole_and_of_cut_width_are_taken(tmp_path: Path) -> None:
    searcher = Searcher.open(index_vectors(IDS, VECTORS, SPACE, tmp_path / "cut", dim=48))
    assert searcher.search(VECTORS[5]).ids == searcher.search(VECTORS[5, :48]).ids
    with pytest.raises(VectorError, match="48 or 64"):
        searcher.search(VECTORS[5, :50])


def test_only_allowed_ids_are_found(searcher: Searcher, caplog: pytest.LogCaptureFixture) -> None:
    allow = {"doc 3", "doc 4", "unknown", "doc 200"}
    assert set(searcher.search(VECTORS[0], allow=allow).ids) == allow - {"unknown"}
    assert "1 of 4 allowed ids are not in the index" in caplog.text
    assert searcher.search(VECTORS[0], allow=[]).ids == []
    with pytest.raises(OptionError, match="a collection of ids"):
        searcher.search(VECTORS[0], allow="doc 3")


def test_allowing_everything_changes_nothing(searcher: Searcher) -> None:
    assert searcher.search(VECTORS[0], allow=IDS).ids == searcher.search(VECTORS[0]).ids


@pytest.mark.parametrize(
    ("precision", "factory"), [("float32", None), ("int8", "HNSW16"), ("binary", None), ("float16", "IVF8")]
)
def test_many_threads_get_what_one_gets(tmp_path: Path, precision: str, factory: str | None) -> None:
    searcher = Searcher.open(index_vectors(IDS, VECTORS, SPACE, tmp_path / "i", precision=precision, factory=factory))
    allow = IDS[::2]
    serial = [(searcher.search(v, 9).ids, searcher.search(v, 9, allow).scores.tolist()) for v in VECTORS]
    fresh = Searcher.open(tmp_path / "i")
    start = threading.Barrier(8)

    def work(offset: int) -> list[tuple[list[str], list[float]]]:
        start.wait()
        order = [(row + offset) % 300 for row in range(300)]
        got = {
            row: (fresh.search(VECTORS[row], 9).ids, fresh.search(VECTORS[row], 9, allow).scores.tolist())
            for row in order
        }
        return [got[row] for row in range(300)]

    with ThreadPoolExecutor(8) as pool:
        assert all(result == serial for result in pool.map(work, range(0, 300, 40)))


def test_an_index_without_a_student_says_what_to_do(index: Path) -> None:
    searcher = Searcher.open(index)
    with pytest.raises(OptionError, match="without a student"):
        searcher.search("text")


def test_an_encoder_of_another_space_is_refused(index: Path) -> None:
    for field, value in (("weights", "name:other"), ("dim", 32), ("query_prompt", "query: "), ("max_length", 9)):
        other = Letters()
        other.space = Space(**{**vars(SPACE), field: value})
        with pytest.raises(SpaceError, match=f"{field} is"):
            Searcher.open(index, encoder=other)


def test_a_folder_that_is_no_index_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path(__file__)):
        with pytest.raises(InputError, match="is not an index"):
            Searcher.open(path)


def test_options_outside_their_range_are_refused(index: Path) -> None:
    for option in ("threads", "oversample"):
        with pytest.raises(OptionError, match=option):
            Searcher.open(index, **{option: 0})


def test_searching_imports_neither_torch_nor_arrow(index: Path) -> None:
    program = f"""
import sys
from leafkit.search import Searcher
import numpy
Searcher.open({str(index)!r}).search(numpy.ones(64))
heavy = {{"torch", "transformers", "sentence_transformers", "pyarrow", "onnx", "pandas", "scipy"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_index_of_texts_finds_the_text_itself(tiny_teacher: Path, sentences: list[str], tmp_path: Path) -> None:
    (tmp_path / "docs.txt").write_text("\n".join(sentences), encoding="utf-8")
    built = build_index(tmp_path / "docs.txt", tiny_teacher, tmp_path / "index")
    teacher = open_teacher(tiny_teacher)
    searcher = Searcher.open(built, encoder=teacher)
    documents = teacher.encode(sentences, "document")
    hits = searcher.search(sentences[:5], k=200)
    for text, found in zip(sentences[:5], hits, strict=True):
        true = documents @ teacher.encode([text], "query")[0]
        assert found.ids[0] == f"docs.txt:{1 + int(true.argmax())}"
        # Cached teacher vectors are float16.
        numpy.testing.assert_allclose(found.scores, -numpy.sort(-true), atol=1e-3)
        assert found.payload[0]["text"] == sentences[int(true.argmax())]
