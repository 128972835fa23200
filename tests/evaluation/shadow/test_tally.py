"""What is counted over queries: overlap, rank moves, and the queries that differ most."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy
import pytest

from leafkit.evaluation.bootstrap import Interval, interval, resampled_means
from leafkit.evaluation.shadow.report import ShadowReport, make_report
from leafkit.evaluation.shadow.tally import Tally
from leafkit.search.hits import Hits


def hits(ids: Sequence[int]) -> Hits:
    payload = [{"title": f"title {name}", "text": "text  of\na document"} for name in ids]
    return Hits([f"d{name}" for name in ids], numpy.zeros(len(ids), dtype=numpy.float32), payload)


def report_of(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], *, worst: int = 20, depth: int = 10
) -> ShadowReport:
    tally = Tally(depth, worst)
    for number, (tried, reference) in enumerate(pairs):
        tally.add(f"query {number}", hits(tried), hits(reference), (1.0 + number, 2.0))
    facts = {"index": "docs.index", "space": "a space", "documents": 99, "blank": 0, "seed": 0}
    return make_report(tally, sides=(("small", "three"), ("full", "six")), **facts)


def test_equal_hits_are_no_difference() -> None:
    found = report_of([(range(10), range(10))] * 3)
    assert (found.overlap, found.same_best, found.mean_move, found.stayed) == (1, 1, 0, 1)
    assert found.overlap_interval == Interval(1, 1)
    assert found.best_ranks == {"1": 1, "2-3": 0, "4-10": 0, "not found": 0}
    assert found.worst == ()


def test_hits_in_reverse_overlap_but_move() -> None:
    found = report_of([(range(10)[::-1], range(10))])
    assert (found.overlap, found.same_best, found.stayed) == (1, 0, 0)
    assert found.mean_move == 5  # (9 + 7 + 5 + 3 + 1) x 2 / 10
    assert found.best_ranks["4-10"] == 1
    assert (found.worst[0].overlap, found.worst[0].best_rank) == (1, 10)


def test_other_hits_overlap_in_nothing_and_have_no_move() -> None:
    found = report_of([(range(10, 20), range(10))])
    assert (found.overlap, found.mean_move, found.stayed) == (0, None, None)
    assert found.best_ranks["not found"] == 1
    assert found.worst[0].best_rank is None
    assert "rank moves" not in dict(found.figures())
    assert not any(hit.shared for hit in found.worst[0].tried)


def test_figures_equal_those_computed_from_all_queries_at_once() -> None:
    draw = random.Random(0)
    pairs = [(draw.sample(range(14), 10), draw.sample(range(14), 10)) for _ in range(200)]
    found = report_of(pairs)
    overlaps = numpy.array([len({*one} & {*other}) / 10 for one, other in pairs])
    moves = [abs(one.index(name) - other.index(name)) for one, other in pairs for name in {*one} & {*other}]
    assert found.overlap == pytest.approx(overlaps.mean())
    assert found.same_best == numpy.mean([one[0] == other[0] for one, other in pairs])
    assert (found.mean_move, found.stayed) == pytest.approx((numpy.mean(moves), numpy.mean(numpy.equal(moves, 0))))
    assert sum(found.best_ranks.values()) == pytest.approx(1)
    ours, theirs = found.overlap_interval, interval(resampled_means(overlaps[None], seed=1)[:, 0])
    assert ours is not None
    assert theirs is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert (found.tried.median, found.reference.median) == (100.5, 2)


def test_counted_columns_are_resampled_like_repeated_ones() -> None:
    values = numpy.random.default_rng(0).random((2, 300))
    ones = numpy.ones(300, dtype=numpy.int64)
    assert (resampled_means(values, seed=3, counts=ones) == resampled_means(values, seed=3)).all()
    few = resampled_means(numpy.array([[0.0, 1.0]]), seed=0, counts=numpy.array([30_000_000, 10_000_000]))
    assert few.mean() == pytest.approx(0.25, abs=1e-5)
    assert few.std() == pytest.approx((0.25 * 0.75 / 40_000_000) ** 0.5, rel=0.05)


def test_the_worst_queries_have_the_fewest_shared_hits_and_then_the_lowest_best_hit() -> None:
    worse, bad, moved = (*range(5), *range(20, 25)), (*range(9), 20), (1, 0, *range(2, 10))
    pairs = [(moved, range(10)), (bad, range(10)), (worse, range(10)), (range(10), range(10)), (bad[::-1], range(10))]
    found = report_of(pairs)
    assert [one.query for one in found.worst] == ["query 2", "query 4", "query 1", "query 0"]
    assert [one.query for one in report_of(pairs, worst=2).worst] == ["query 2", "query 4"]
    assert report_of(pairs, worst=0).worst == ()
    shown = found.worst[2]
    assert [hit.id for hit in shown.tried if not hit.shared] == ["d20"]
    assert [hit.id for hit in shown.reference if not hit.shared] == ["d9"]
    assert shown.tried[0].text == "title 0 text of a document"


def test_a_query_that_occurs_often_counts_often_and_is_shown_once() -> None:
    tally = Tally(10, 3)
    for text in ("same", "same", "other", "same"):
        tally.add(text, hits(range(5, 15)), hits(range(10)), (1.0, 1.0))
    assert [one.query for one in tally.worst()] == ["same", "other"]
    assert tally.shared.tolist() == [0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_an_index_of_few_documents_has_fewer_hits(depth: int) -> None:
    found = report_of([(range(depth), range(depth)), (range(depth)[::-1], range(depth))], depth=depth)
    assert (found.overlap, found.depth) == (1, depth)
    assert sum(found.best_ranks.values()) == pytest.approx(1)
    assert f"overlap@{depth}" in found.table()
