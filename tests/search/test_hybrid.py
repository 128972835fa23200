"""Hybrid search: its ends are dense search and BM25, its order ignores the scales of both, and its cosines are true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import OptionError
from leafkit.search.hybrid import DENSE_WEIGHT, check_fusion, fuse
from leafkit.search.package import open_package
from leafkit.search.ranking import Ranking, best
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import index_vectors, update_vectors

SPACE = Space(teacher="drawn", weights="name:drawn", dim=64, normalised=True, pooling="mean", max_length=64)
VECTORS = numpy.random.default_rng(0).standard_normal((300, 64)).astype(numpy.float32)
IDS = [f"doc {row}" for row in range(300)]
WORDS = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"]
PAYLOAD: list[dict[str, Any]] = [
    {"title": WORDS[row % 8], "text": " ".join(numpy.random.default_rng(row).choice(WORDS, 1 + row % 7))}
    for row in range(300)
]
QUERIES = ["ant", "bee cow", "dog dog eel hen", "the unknown"]


class Drawn:
    """An encoder that draws a vector for each text."""

    space = SPACE

    def encode(self, texts: Sequence[str], role: str) -> numpy.ndarray:
        seeds = [int.from_bytes(text.encode(), "little") for text in texts]
        return numpy.stack([numpy.random.default_rng(seed).standard_normal(64) for seed in seeds]).astype(numpy.float32)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hundred texts of eight words, with drawn vectors."""
    return index_vectors(IDS, VECTORS, SPACE, tmp_path_factory.mktemp("hybrid") / "index", payload=PAYLOAD)


@pytest.fixture(scope="module")
def searcher(index: Path) -> Searcher:
    return Searcher.open(index, encoder=Drawn())


def cosine(query: str, name: str) -> float:
    left, right = Drawn().encode([query], "query")[0], VECTORS[IDS.index(name)]
    return float(left @ right / numpy.linalg.norm(left) / numpy.linalg.norm(right))


@pytest.mark.parametrize("k", [1, 10, 150, 1000])
def test_weight_one_is_the_dense_search(searcher: Searcher, k: int) -> None:
    for dense, hybrid in zip(searcher.search(QUERIES, k), searcher.search(QUERIES, k, hybrid=1), strict=True):
        assert dense.ids == hybrid.ids
        assert dense.scores.tolist() == hybrid.scores.tolist()
        assert dense.fused is None


@pytest.mark.parametrize("k", [1, 10, 150, 1000])
def test_weight_zero_is_bm25_with_true_cosines(searcher: Searcher, index: Path, k: int) -> None:
    lexical = open_package(index, verify=False).lexical()
    assert lexical is not None
    for query, hits in zip(QUERIES, searcher.search(QUERIES, k, hybrid=0), strict=True):
        assert hits.ids == [IDS[row] for row in lexical.search(query, k).rows.tolist()]
        assert hits.scores == pytest.approx([cosine(query, name) for name in hits.ids], abs=1e-6)
    assert searcher.search(QUERIES[-1], k, hybrid=0).ids == []


@pytest.mark.parametrize("hybrid", [0.0, 0.3, 0.6, True, "rrf", 1.0])
def test_hits_have_true_cosines_and_descend_by_the_fused_score(searcher: Searcher, hybrid: Any) -> None:
    for query in QUERIES[:3]:
        hits = searcher.search(query, 250, hybrid=hybrid)
        assert hits.scores == pytest.approx([cosine(query, name) for name in hits.ids], abs=1e-6)
        assert hits.fused is not None
        assert (numpy.diff(hits.fused) <= 0).all()
        assert len({*hits.ids}) == len(hits.ids)


def test_a_hybrid_search_finds_what_only_one_side_finds(searcher: Searcher) -> None:
    dense, lexical = searcher.search("ant", 100), searcher.search("ant", 100, hybrid=0)
    both = set(searcher.search("ant", 300, hybrid=0.5).ids)
    assert set(dense.ids) | set(lexical.ids) <= both
    assert set(lexical.ids) - set(dense.ids)


def test_fewer_hits_are_the_first_of_more(searcher: Searcher) -> None:
    for hybrid in (0.2, 0.6, "rrf"):
        few, many = (searcher.search("bee cow", k, hybrid=hybrid).ids for k in (7, 100))
        assert few == many[:7]


def test_a_query_without_known_words_is_ranked_by_its_vector(searcher: Searcher) -> None:
    for hybrid in (0.6, "rrf"):
        assert searcher.search("the unknown", 20, hybrid=hybrid).ids == searcher.search("the unknown", 20).ids


def test_both_sides_respect_allowed_and_removed_documents(tmp_path: Path) -> None:
    index = index_vectors(IDS, VECTORS, SPACE, tmp_path / "index", payload=PAYLOAD)
    update_vectors(index, remove=IDS[::4], compact=False)
    searcher = Searcher.open(index, encoder=Drawn())
    allow = IDS[:60]
    for hybrid in (0, 0.6, "rrf"):
        assert not {*searcher.search("ant bee", 300, hybrid=hybrid).ids} & {*IDS[::4]}
        assert {*searcher.search("ant bee", 300, allow, hybrid=hybrid).ids} <= {*allow} - {*IDS[::4]}
    assert len(searcher.search("ant bee", 300, allow, hybrid=0.6)) == 45


@pytest.mark.parametrize("hybrid", [0.0, 0.6, 1.0, "rrf"])
def test_a_filter_limits_both_sides_as_allowed_ids_do(searcher: Searcher, hybrid: Any) -> None:
    allowed = [name for name, payload in zip(IDS, PAYLOAD, strict=True) if payload["title"] in ("ant", "cow")]
    for query in QUERIES:
        filtered = searcher.search(query, 20, where='title in ("ant", "cow")', hybrid=hybrid)
        expected = searcher.search(query, 20, allow=allowed, hybrid=hybrid)
        assert filtered.ids == expected.ids
        assert {*filtered.ids} <= {*allowed}
        numpy.testing.assert_array_equal(filtered.scores, expected.scores)


def test_one_text_returns_hits_and_many_return_a_list(searcher: Searcher) -> None:
    assert searcher.search(["ant"], hybrid=0.6)[0].ids == searcher.search("ant", hybrid=0.6).ids
    assert searcher.search([], hybrid=0.6) == []


def test_vectors_have_no_words(searcher: Searcher) -> None:
    with pytest.raises(OptionError, match="needs the text of the query, but a vector is given"):
        searcher.search(VECTORS[0], hybrid=0.6)  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_an_index_without_words_says_how_to_get_them(tmp_path: Path) -> None:
    index = index_vectors(IDS, VECTORS, SPACE, tmp_path / "index", lexical=False)
    searcher = Searcher.open(index, encoder=Drawn())
    assert searcher.search("ant", hybrid=False).fused is None
    with pytest.raises(OptionError, match=r"was built without the words .* leafkit update INDEX --lexical"):
        searcher.search("ant", hybrid=True)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "convex", "", [0.5]])
def test_an_unknown_fusion_is_an_error(value: Any) -> None:
    with pytest.raises(OptionError, match=r"expected the weight of the dense side from 0 .* or 'rrf'"):
        check_fusion(value)


def test_true_asks_for_the_default_weight() -> None:
    assert [check_fusion(value) for value in (None, False, True, 1, 0, "rrf")] == [
        *(None, None, DENSE_WEIGHT, 1.0, 0.0, "rrf")
    ]


def test_a_fusion_worked_by_hand() -> None:
    dense = Ranking(numpy.array([4, 1, 2]), numpy.array([0.9, 0.8, 0.5], dtype=numpy.float32))
    lexical = Ranking(numpy.array([2, 7]), numpy.array([6.0, 2.0], dtype=numpy.float32))
    convex = fuse(dense, lexical, 0.6, 10)
    assert convex.rows.tolist() == [4, 1, 2, 7]
    assert convex.scores == pytest.approx([0.6, 0.6 * 0.75, 0.4, 0.0])
    ranks = fuse(dense, lexical, "rrf", 3)
    assert ranks.rows.tolist() == [2, 4, 1]
    assert ranks.scores == pytest.approx([1 / 63 + 1 / 61, 1 / 61, 1 / 62])


def rankings() -> st.SearchStrategy[Ranking]:
    """Rankings of up to 30 of 40 rows by small whole numbers, so that changed scales round to the same order."""
    scores = st.dictionaries(st.integers(0, 39), st.integers(0, 64), max_size=30)
    return scores.map(lambda of: best(numpy.array([*of], dtype=numpy.int64), numpy.array([*of.values()], "f4"), 30))


@given(
    rankings(), rankings(), st.sampled_from([0.25, 0.5, 0.75, "rrf"]), st.sampled_from([0.25, 4]), st.integers(-8, 8)
)
def test_the_order_ignores_the_scale_of_each_side(
    dense: Ranking, lexical: Ranking, fusion: Any, factor: float, added: int
) -> None:
    before = fuse(dense, lexical, fusion, 40)
    left, right = (Ranking(one.rows, (one.scores * factor + added).astype("f4")) for one in (dense, lexical))
    for first, second in ((left, lexical), (dense, right), (left, right)):
        assert fuse(first, second, fusion, 40).rows.tolist() == before.rows.tolist()
    assert set(before.rows.tolist()) == {*dense.rows.tolist(), *lexical.rows.tolist()}
