"""Searches with a filter: the hits of an exact search over the allowed documents, alone and with other limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.search.searcher import Searcher
from leafkit.space import Space
from tests.fixtures.packages import index_vectors, update_vectors

SPACE = Space(teacher="drawn", weights="name:drawn", dim=32, normalised=True, pooling="mean", max_length=64)
ROWS = 12_000
IDS = [f"doc {row}" for row in range(ROWS)]
# Every tenth document is removed before the searches.
REMOVED = IDS[::10]
SHARES = [0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0]


def clustered(rows: int, seed: int) -> numpy.ndarray:
    """Return unit vectors around a hundred centres, as those of texts on a hundred topics."""
    random = numpy.random.default_rng(seed)
    centres = numpy.random.default_rng(0).standard_normal((100, 32))
    vectors = centres[random.integers(100, size=rows)] + 0.7 * random.standard_normal((rows, 32))
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype(numpy.float32)


VECTORS, QUERIES = clustered(ROWS, 1), clustered(20, 2)
DRAWN = numpy.random.default_rng(3).random(ROWS)
PAYLOAD = [{"text": "", "drawn": drawn, "third": "abc"[row % 3]} for row, drawn in enumerate(DRAWN.tolist())]


def built(out: Path, **options: Any) -> Searcher:
    index = index_vectors(IDS, VECTORS, SPACE, out, payload=PAYLOAD, lexical=False, **options)
    update_vectors(index, remove=REMOVED, compact=False)
    return Searcher.open(index)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    """An exact index with removed documents."""
    return built(tmp_path_factory.mktemp("flat") / "index")


def exact(allowed: numpy.ndarray, k: int) -> list[list[str]]:
    """Return the ids of the nearest allowed documents that are not removed, for each query."""
    rows = numpy.flatnonzero(allowed & (numpy.arange(ROWS) % 10 > 0))
    order = numpy.argsort(-(QUERIES @ VECTORS[rows].T), axis=1, kind="stable")[:, :k]
    return [[IDS[row] for row in rows[one]] for one in order]


def recall(found: list[Any], truth: list[list[str]]) -> float:
    return sum(len({*hits.ids} & {*ids}) for hits, ids in zip(found, truth, strict=True)) / sum(map(len, truth))


@pytest.mark.parametrize("share", [0.0, *SHARES])
def test_an_exact_index_finds_the_nearest_allowed_documents(searcher: Searcher, share: float) -> None:
    found = searcher.search(QUERIES, 10, where=f"drawn < {share}")
    assert [hits.ids for hits in found] == exact(share > DRAWN, 10)


@pytest.mark.slow
@pytest.mark.parametrize("factory", ["HNSW32", "IVF64"])
def test_an_approximate_index_finds_nearly_all_nearest_allowed_documents(tmp_path: Path, factory: str) -> None:
    searcher = built(tmp_path / "index", factory=factory)
    for share in SHARES:
        found = searcher.search(QUERIES, 10, where=f"drawn < {share}")
        assert recall(found, exact(share > DRAWN, 10)) >= 0.99, share
        assert all(payload["drawn"] < share for hits in found for payload in hits.payload)


def test_allow_and_where_both_hold(searcher: Searcher) -> None:
    found = searcher.search(QUERIES, 5, IDS[: ROWS // 2], where={"third": "b"})
    rows = numpy.arange(ROWS)
    assert [hits.ids for hits in found] == exact((rows < ROWS // 2) & (rows % 3 == 1), 5)


def test_fewer_hits_come_back_if_fewer_are_allowed(searcher: Searcher) -> None:
    value = float(DRAWN[1230])
    assert searcher.search(QUERIES[0], 10, where={"drawn": value}).ids == []  # removed
    assert searcher.search(QUERIES[0], 10, where={"drawn": float(DRAWN[1231])}).ids == ["doc 1231"]
    assert len(searcher.search(QUERIES[0], 10, where='third = "d"')) == 0


def test_a_filter_is_checked_before_a_query_is_encoded(searcher: Searcher) -> None:
    with pytest.raises(OptionError, match="no column 'thrid'"):
        searcher.search("a text that this index cannot encode", where={"thrid": "b"})
