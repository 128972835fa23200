"""Overlap and rank agreement with the old ranking."""

import numpy
import pytest
from scipy.stats import spearmanr

from leafkit.evaluation.upgrade.agreement import Sides, agreements
from tests.evaluation.upgrade.spaces import drawn, rotation

NONE = numpy.full(40, -1)


def test_a_way_that_ranks_as_the_old_model_agrees_fully():
    queries, documents, turn = drawn(40, seed=3), drawn(300), rotation()
    rotated = Sides(queries @ turn, documents @ turn)
    found = agreements(Sides(queries, documents), {"same": Sides(queries, documents), "rotated": rotated}, NONE, seed=0)
    assert (found["same"].overlap, found["same"].rank) == (1, 1)
    assert found["rotated"].overlap == pytest.approx(1, abs=0.01)
    assert found["rotated"].rank == pytest.approx(1, abs=1e-3)


def test_an_unrelated_way_agrees_by_chance():
    old = Sides(drawn(40, seed=3), drawn(300))
    found = agreements(old, {"way": Sides(drawn(40, seed=4), drawn(300, seed=5))}, NONE, seed=0)["way"]
    assert found.overlap == pytest.approx(10 / 300, abs=0.03)
    assert found.rank == pytest.approx(0, abs=0.05)
    assert found.overlap_interval.low <= found.overlap <= found.overlap_interval.high


def test_the_figures_are_those_of_a_search_written_out():
    old, way = Sides(drawn(40, seed=3), drawn(150)), Sides(drawn(40, seed=3), drawn(150) + drawn(150, seed=6))
    overlaps, ranks = [], []
    for left, right in zip(old.queries, way.queries, strict=True):
        lengths = numpy.linalg.norm(way.documents, axis=1)
        scores = old.documents @ left, way.documents @ right / lengths
        best = [set(numpy.argsort(-one)[:10].tolist()) for one in scores]
        overlaps.append(len(best[0] & best[1]) / 10)
        hundred = numpy.argsort(-scores[0])[:100]
        ranks.append(spearmanr(scores[0][hundred], scores[1][hundred])[0])
    found = agreements(old, {"way": way}, NONE, seed=0)["way"]
    assert found.overlap == pytest.approx(numpy.mean(overlaps))
    assert found.rank == pytest.approx(numpy.mean(ranks), abs=1e-6)


def test_a_document_that_searches_is_no_hit_of_its_own():
    documents = drawn(30)
    other = -documents
    other[:, 0] *= -1  # the way finds other hits, but each document is nearest to itself in both
    own = numpy.arange(30)
    with_itself = agreements(Sides(documents, documents), {"way": Sides(other, other)}, numpy.full(30, -1), seed=0)
    without = agreements(Sides(documents, documents), {"way": Sides(drawn(30, seed=9), drawn(30, seed=9))}, own, seed=0)
    chance = agreements(
        Sides(documents, documents), {"way": Sides(drawn(30, seed=9), drawn(30, seed=9))}, numpy.full(30, -1), seed=0
    )
    assert with_itself["way"].overlap == 1  # a reflection keeps all cosines
    assert chance["way"].overlap - without["way"].overlap == pytest.approx(0.1 * (1 - 10 / 30), abs=0.06)


def test_fewer_documents_than_ten_can_still_be_compared():
    documents = drawn(4)
    found = agreements(Sides(documents, documents), {"way": Sides(documents, documents)}, numpy.arange(4), seed=0)
    assert (found["way"].overlap, found["way"].rank) == (1, 1)
