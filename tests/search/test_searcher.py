"""`Searcher`: results for one query and many, odd queries, many threads, and the student inside an index."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest

from leafkit import QueryEncoder, build_index, update_index
from leafkit.errors import DamageError, InputError, OptionError, SpaceError, VectorError
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from leafkit.teachers.open import open_teacher
from tests.fixtures.packages import index_vectors

SPACE = Space(teacher="drawn", weights="name:drawn", dim=64, normalised=True, pooling="mean", max_length=64)
VECTORS = numpy.random.default_rng(0).standard_normal((300, 64)).astype(numpy.float32)
IDS = [f"doc {row}" for row in range(300)]


class Letters:
    """An encoder that counts characters: small and real, and it needs no model."""

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


def test_one_query_returns_hits_and_many_return_a_list(searcher: Searcher) -> None:
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


def test_asking_for_more_hits_than_documents_returns_all_documents(searcher: Searcher) -> None:
    assert len(searcher) == 300
    assert sorted(searcher.search(VECTORS[0], k=10**9).ids) == sorted(IDS)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_raises_an_error(searcher: Searcher, k: int) -> None:
    with pytest.raises(OptionError, match=f"k is {k}; expected at least 1"):
        searcher.search(VECTORS[0], k=k)


def test_an_empty_index_returns_no_hits(tmp_path: Path) -> None:
    searcher = Searcher.open(index_vectors([], VECTORS[:0], SPACE, tmp_path / "empty"), encoder=Letters())
    assert len(searcher) == 0
    assert searcher.search("anything").ids == []
    assert [hits.ids for hits in searcher.search(VECTORS[:2], allow=["a"])] == [[], []]


@pytest.mark.parametrize("query", ["", "   ", "\n\t"])
def test_a_blank_query_raises_an_error_with_its_position(searcher: Searcher, query: str) -> None:
    with pytest.raises(OptionError, match="query 1 of 1"):
        searcher.search(query)
    with pytest.raises(OptionError, match="query 2 of 2"):
        searcher.search(["fine", query])


def test_a_long_query_is_truncated_by_its_encoder(searcher: Searcher) -> None:
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
def test_arrays_that_are_not_query_vectors_raise_an_error(searcher: Searcher, query: numpy.ndarray) -> None:
    with pytest.raises((VectorError, OptionError)):
        searcher.search(query)


def test_query_vectors_may_be_truncated_to_the_index(tmp_path: Path) -> None:
    searcher = Searcher.open(index_vectors(IDS, VECTORS, SPACE, tmp_path / "cut", dim=48))
    assert searcher.search(VECTORS[5]).ids == searcher.search(VECTORS[5, :48]).ids
    with pytest.raises(VectorError, match="expected rows of 48 or 64 numbers"):
        searcher.search(VECTORS[5, :50])


def test_a_search_finds_only_allowed_ids(searcher: Searcher, caplog: pytest.LogCaptureFixture) -> None:
    allow = {"doc 3", "doc 4", "unknown", "doc 200"}
    assert set(searcher.search(VECTORS[0], allow=allow).ids) == allow - {"unknown"}
    assert "1 of 4 allowed ids are not in the index" in caplog.text
    assert searcher.search(VECTORS[0], allow=[]).ids == []
    with pytest.raises(OptionError, match="allow is the string 'doc 3'"):
        searcher.search(VECTORS[0], allow="doc 3")


def test_allowing_everything_changes_nothing(searcher: Searcher) -> None:
    assert searcher.search(VECTORS[0], allow=IDS).ids == searcher.search(VECTORS[0]).ids


@pytest.mark.parametrize(
    ("precision", "factory"), [("float32", None), ("int8", "HNSW16"), ("binary", None), ("float16", "IVF8")]
)
def test_many_threads_get_the_results_of_one(tmp_path: Path, precision: str, factory: str | None) -> None:
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


def test_searching_texts_without_a_student_explains_what_to_do(index: Path) -> None:
    searcher = Searcher.open(index)
    with pytest.raises(OptionError, match="was built without a student, so it cannot encode texts"):
        searcher.search("text")


def test_an_encoder_of_another_space_raises_an_error(index: Path) -> None:
    for field, value in (("weights", "name:other"), ("dim", 32), ("query_prompt", "query: "), ("max_length", 9)):
        other = Letters()
        other.space = Space(**{**vars(SPACE), field: value})
        with pytest.raises(SpaceError, match=f"{field} is"):
            Searcher.open(index, encoder=other)


def test_a_folder_that_is_not_an_index_raises_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent", Path(__file__)):
        with pytest.raises(InputError, match="is not an index"):
            Searcher.open(path)


def test_options_outside_their_range_raise_an_error(index: Path) -> None:
    for option in ("threads", "oversample"):
        with pytest.raises(OptionError, match=f"{option} is 0; expected at least 1"):
            Searcher.open(index, **{option: 0})


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


@pytest.fixture(scope="module")
def whole(exported: Path, tiny_teacher: Path, sentences: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the sentences with the student inside."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "docs.txt").write_text("\n".join(sentences), encoding="utf-8")
    return build_index(folder / "docs.txt", tiny_teacher, folder / "index", student=exported)


def test_an_index_with_a_student_inside_needs_no_other_encoder(
    whole: Path, exported: Path, sentences: list[str]
) -> None:
    searcher = Searcher.open(whole)
    vectors = QueryEncoder.open(exported).encode(sentences[:20], "query")
    for query, vector, hits in zip(sentences, vectors, searcher.search(sentences[:20], 5), strict=False):
        assert hits.ids == searcher.search(vector, 5).ids == searcher.search(query, 5).ids
        assert hits.ids == Searcher.open(whole, encoder=exported).search(query, 5).ids
    assert searcher.search("list " * 5000).ids == searcher.search("list " * 6000).ids


def test_threads_share_the_student(whole: Path, sentences: list[str]) -> None:
    searcher = Searcher.open(whole)
    serial = [searcher.search(text, 5).scores.tolist() for text in sentences]
    with ThreadPoolExecutor(8) as pool:
        assert [hits.scores.tolist() for hits in pool.map(lambda text: searcher.search(text, 5), sentences)] == serial


def test_opening_detects_a_changed_byte_in_the_student_inside(whole: Path) -> None:
    inside = [path for path in sorted((whole / "encoder").rglob("*")) if path.is_file()]
    assert {path.name for path in inside} >= {"leafkit.json", "tokenizer.json", "model_quantized.onnx"}
    for path in inside:
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= 4
            path.write_bytes(changed)
            with pytest.raises(DamageError, match=path.name):
                Searcher.open(whole)
        path.write_bytes(content)


def test_a_student_of_another_teacher_raises_an_error(
    whole: Path, exported: Path, other_teacher: Path, tmp_path: Path
) -> None:
    (tmp_path / "docs.txt").write_text("a list\n", encoding="utf-8")
    with pytest.raises(SpaceError, match=r"does not write the vectors of the student .* expected at least 0\.9997"):
        build_index(tmp_path / "docs.txt", other_teacher, tmp_path / "index", student=exported)
    assert not (tmp_path / "index").exists()
    theirs = build_index(tmp_path / "docs.txt", other_teacher, tmp_path / "theirs")
    with pytest.raises(SpaceError, match="weights is"):
        Searcher.open(theirs, encoder=exported)


def test_an_update_keeps_the_student_inside(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "index")
    (tmp_path / "more.txt").write_text("encrypt a password\n", encoding="utf-8")
    counts = update_index(tmp_path / "index", add=tmp_path / "more.txt", remove=["docs.txt:1"], compact=True)
    assert (counts.added, counts.removed) == (1, 1)
    assert "more.txt:1" in Searcher.open(tmp_path / "index").search("encrypt a password", 3).ids
