"""The finder's laws: true cosines for every index type, exact where exact is promised, nothing removed or forbidden."""

from __future__ import annotations

import numpy
import pytest

from leafkit.errors import OptionError, VectorError
from leafkit.search.finder import Finder

ROWS, WIDTH = 600, 64
EXACT = [("float32", None), ("float16", None), ("int8", None), ("float32", "Flat")]
KINDS = [
    *EXACT,
    ("binary", None),
    ("binary", "BHNSW32"),
    ("binary", "BIVF8"),
    ("binary", "BHash8"),
    ("float32", "HNSW32"),
    ("int8", "HNSW16"),
    ("float16", "IVF8"),
    ("float32", "IVF8,SQ8"),
    ("float32", "SQbf16"),
    ("float32", "SQ6"),
    ("float32", "SQ4"),
    ("float32", "PQ8x4fs"),
    ("float32", "PQ8x4"),
    ("float32", "IVF8,PQ8x4"),
    ("float32", "IVF8,PQ16x4fs,RFlat"),
    ("float32", "IVF8,PQ16x4fs,Refine(SQ8)"),
    ("float32", "RaBitQ"),
    ("float32", "RaBitQfs"),
    ("float32", "IVF8,RaBitQ"),
    ("float32", "IVF8,RaBitQfs,Refine(SQ8)"),
    ("float32", "PCA32,IVF8,SQ8"),
    ("float32", "OPQ8,IVF8,PQ8x4"),
    ("float32", "RQ2x4"),
    ("float32", "NSG16,Flat"),
]


def draw(rows: int, width: int = WIDTH, seed: int = 0) -> numpy.ndarray:
    """Vectors in clusters, of any length."""
    random = numpy.random.default_rng(seed)
    centres = numpy.random.default_rng(99).standard_normal((20, width))
    return (centres[random.integers(20, size=rows)] + random.standard_normal((rows, width))).astype(numpy.float32)


def cosine_table(queries: numpy.ndarray, vectors: numpy.ndarray, dim: int = WIDTH) -> numpy.ndarray:
    """Brute force in float64."""
    q, v = (a[:, :dim].astype(numpy.float64) for a in (queries, vectors))
    return (q / numpy.linalg.norm(q, axis=1, keepdims=True)) @ (v / numpy.linalg.norm(v, axis=1, keepdims=True)).T


DOCUMENTS, QUERIES = draw(ROWS), draw(25, seed=1)
TABLE = cosine_table(QUERIES, DOCUMENTS)


def holds(finder: Finder) -> str:
    """The precision that scores come from."""
    if finder.kept is not None:
        return str(finder.kept.dtype)
    loss = 1 - cosine_table(finder.vectors(numpy.arange(50)), DOCUMENTS[:50]).diagonal()
    return "float32" if loss.max() < 1e-12 else "float16" if loss.max() < 1e-5 else "int8"


@pytest.mark.parametrize(("precision", "factory"), KINDS)
def test_the_score_of_a_hit_is_the_cosine_of_its_document(precision: str, factory: str | None) -> None:
    finder = Finder.of_vectors(DOCUMENTS, precision=precision, factory=factory)
    found = finder.search(QUERIES, 10)
    bound = {"float32": 1e-6, "float16": 1e-3, "int8": 5e-3}[holds(finder)]
    assert numpy.abs(numpy.take_along_axis(TABLE, found.rows, axis=1) - found.scores).max() < bound
    assert (numpy.diff(found.scores, axis=1) <= 0).all()
    assert all(len(set(rows)) == 10 for rows in found.rows.tolist())


@pytest.mark.parametrize(("precision", "factory"), KINDS)
def test_every_type_gives_as_many_hits_as_there_are_rows(precision: str, factory: str | None) -> None:
    finder = Finder.of_vectors(DOCUMENTS, precision=precision, factory=factory)
    for k in (1, ROWS - 1, ROWS, ROWS + 5):
        found = finder.search(QUERIES[:3], k)
        assert found.rows.shape == found.scores.shape == (3, min(k, ROWS))
        assert all(len(set(rows)) == min(k, ROWS) for rows in found.rows.tolist())


@pytest.mark.parametrize(("precision", "factory"), KINDS)
def test_a_removed_row_is_never_found(precision: str, factory: str | None) -> None:
    finder = Finder.of_vectors(DOCUMENTS, precision=precision, factory=factory)
    alive = numpy.random.default_rng(2).random(ROWS) < 0.3
    rest = Finder(finder.index, kept=finder.kept, live=numpy.packbits(alive, bitorder="little"))
    assert rest.count == alive.sum()
    for k in (1, 10, ROWS):
        found = rest.search(QUERIES, k)
        assert found.rows.shape == (len(QUERIES), min(k, rest.count))
        assert alive[found.rows].all()


@pytest.mark.parametrize(("precision", "factory"), KINDS)
def test_only_allowed_rows_are_found_through_a_selector_too(
    precision: str, factory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leafkit.search.finder.SCANNED", 0)
    monkeypatch.setattr("leafkit.search.finder.SCANNED_PER_ROOT", 0)
    finder = Finder.of_vectors(DOCUMENTS, precision=precision, factory=factory)
    allow = numpy.random.default_rng(3).permutation(ROWS)[:300]
    found = finder.search(QUERIES, 5, allow)
    assert found.rows.shape == (len(QUERIES), 5)
    assert numpy.isin(found.rows, allow).all()


@pytest.mark.parametrize(("precision", "factory"), [("float32", "HNSW32"), ("binary", None), ("float32", "RaBitQ")])
def test_a_short_allow_list_is_searched_exactly(precision: str, factory: str | None) -> None:
    finder = Finder.of_vectors(DOCUMENTS, precision=precision, factory=factory, rescore="float32")
    allow = numpy.random.default_rng(4).permutation(ROWS)[:40]
    best = allow[numpy.argsort(-TABLE[:, allow], axis=1)[:, :10]]
    numpy.testing.assert_array_equal(finder.search(QUERIES, 10, allow).rows, best)


@pytest.mark.parametrize("dim", [1, 7, 48, WIDTH])
def test_flat_search_equals_brute_force_in_any_prefix(dim: int) -> None:
    found = Finder.of_vectors(DOCUMENTS, dim=dim).search(QUERIES, 10)
    table = cosine_table(QUERIES, DOCUMENTS, dim)
    numpy.testing.assert_allclose(found.scores, -numpy.sort(-table, axis=1)[:, :10], atol=1e-6)
    numpy.testing.assert_allclose(numpy.take_along_axis(table, found.rows, axis=1), found.scores, atol=1e-6)


def test_already_cut_and_scaled_queries_give_the_same_hits() -> None:
    finder = Finder.of_vectors(DOCUMENTS, dim=32)
    numpy.testing.assert_array_equal(finder.search(QUERIES).rows, finder.search(3 * QUERIES[:, :32]).rows)


@pytest.mark.parametrize(("precision", "factory"), EXACT)
def test_fewer_hits_are_a_prefix_of_more(precision: str, factory: str | None) -> None:
    finder = Finder.of_vectors(DOCUMENTS, precision="float16" if precision == "int8" else precision, factory=factory)
    many = finder.search(QUERIES, ROWS)
    for k in (1, 2, 10, 100):
        few = finder.search(QUERIES, k)
        numpy.testing.assert_allclose(few.scores, many.scores[:, :k], atol=1e-6)


@pytest.mark.parametrize(("precision", "factory"), KINDS)
def test_a_query_alone_gets_the_answer_it_gets_in_a_batch(precision: str, factory: str | None) -> None:
    finder = Finder.of_vectors(DOCUMENTS, precision=precision, factory=factory)
    many = finder.search(QUERIES, 10)
    for i, query in enumerate(QUERIES):
        one = finder.search(query[None], 10)
        numpy.testing.assert_array_equal(one.rows[0], many.rows[i])
        numpy.testing.assert_array_equal(one.scores[0], many.scores[i])


def test_a_score_does_not_depend_on_the_length_of_query_or_document() -> None:
    scale = numpy.random.default_rng(5).uniform(0.01, 1000, (ROWS, 1)).astype(numpy.float32)
    found = Finder.of_vectors(DOCUMENTS * scale).search(QUERIES * 1e-20)
    numpy.testing.assert_allclose(found.scores, -numpy.sort(-TABLE, axis=1)[:, :10], atol=1e-6)


def test_equal_documents_come_in_the_order_of_their_rows() -> None:
    finder = Finder.of_vectors(numpy.repeat(DOCUMENTS[:1], 9, axis=0))
    rows = finder.search(QUERIES[:1], 5).rows[0].tolist()
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_an_empty_corpus_has_no_hits(precision: str) -> None:
    found = Finder.of_vectors(numpy.empty((0, 8)), precision=precision).search(numpy.ones((2, 8)), 3)
    assert found.rows.shape == (2, 0)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_one_document_is_found(precision: str) -> None:
    found = Finder.of_vectors(DOCUMENTS[:1], precision=precision).search(DOCUMENTS[:1], 3)
    assert found.rows.tolist() == [[0]]
    assert found.scores[0, 0] == pytest.approx(1, abs=5e-3)


def test_rescoring_makes_sign_bits_nearly_as_good_as_exact_search() -> None:
    best = numpy.argsort(-TABLE, axis=1)[:, :10]
    for rescore, wanted in ((None, 0.9), ("none", 0.0)):
        rows = Finder.of_vectors(DOCUMENTS, precision="binary", rescore=rescore).search(QUERIES, 10).rows
        recall = numpy.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), best.tolist(), strict=True)])
        assert recall >= wanted
    assert recall < 0.7


def test_nothing_is_kept_that_the_index_holds_already() -> None:
    assert Finder.of_vectors(DOCUMENTS, rescore="float16").kept is None
    assert Finder.of_vectors(DOCUMENTS, precision="int8", rescore="float16").kept is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "precision is 'float8'"),
        ({"rescore": "bfloat16"}, "rescore is 'bfloat16'"),
        ({"dim": 0}, "dim is 0"),
        ({"dim": WIDTH + 1}, f"dim is {WIDTH + 1}; expected 1 to {WIDTH}"),
        ({"factory": "SQ8_direct"}, "unit vectors"),
        ({"factory": "IDMap,Flat"}, "leave IDMap out"),
        ({"factory": "Flat", "precision": "int8"}, "contradicts precision int8"),
        ({"factory": "IVF8,PQ8", "precision": "float16"}, "contradicts precision float16"),
        ({"factory": "Flat", "precision": "binary"}, "a binary factory"),
        ({"factory": "BFlat"}, "--precision binary"),
        ({"factory": "Nonsense7"}, "FAISS does not take the factory 'Nonsense7'"),
        ({"factory": "LSH"}, "FAISS does not take"),
        ({"factory": ""}, "FAISS does not take"),
        ({"factory": "PQ7"}, "PQ7"),
        ({"factory": "IVF5000"}, "cannot fit"),
        ({"factory": "RaBitQ", "rescore": "none", "precision": "int8"}, "contradicts"),
        ({"factory": "BHash8", "precision": "binary", "rescore": "none"}, "--rescore"),
        ({"oversample": 0}, "oversample is 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Finder.of_vectors(DOCUMENTS, **options)


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf, -numpy.inf])
def test_vectors_that_are_not_finite_are_refused(bad: float) -> None:
    vectors = DOCUMENTS.copy()
    vectors[7, 3] = bad
    with pytest.raises(VectorError, match=r"the documents: row 7 .* not finite"):
        Finder.of_vectors(vectors)
    with pytest.raises(VectorError, match="the queries: row 7"):
        Finder.of_vectors(DOCUMENTS).search(vectors[:10])


def test_a_vector_whose_prefix_is_zero_is_refused() -> None:
    vectors = DOCUMENTS.copy()
    vectors[5, :8] = 0
    Finder.of_vectors(vectors, dim=9)
    with pytest.raises(VectorError, match="row 5 has only zeros in its first 8"):
        Finder.of_vectors(vectors, dim=8)


def test_narrow_queries_and_k_below_one_are_refused() -> None:
    finder = Finder.of_vectors(DOCUMENTS, dim=32)
    with pytest.raises(OptionError, match="expected 1 to 31"):
        finder.search(QUERIES[:, :31])
    with pytest.raises(OptionError, match="k is 0"):
        finder.search(QUERIES, 0)
