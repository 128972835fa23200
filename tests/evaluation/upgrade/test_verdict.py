"""The rule: the cheapest way that is good enough."""

import numpy
import pytest

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.upgrade.agreement import Agreement
from leafkit.evaluation.upgrade.judged import Judged
from leafkit.evaluation.upgrade.verdict import judged_verdict, unjudged_verdict, verdict_of_today

NAMES = {"s": "student", "q": "bridged queries", "d": "bridged documents", "r": "re-embedding", "o": "old model"}


def judged(*, spread=0.0, **scores):
    """nDCG@10 of ways by their initials, with samples ``spread`` around the mean."""
    ways, means = [NAMES[one] for one in scores], numpy.array([*scores.values()])
    samples = numpy.tile(means, (200, 1))
    samples += spread * numpy.linspace(-1, 1, 200)[:, None] * (numpy.arange(len(means)) == 0)
    return Judged(tuple(ways), means[:, None], samples)


@pytest.mark.parametrize(
    ("scores", "way"),
    [
        ({"s": 0.60, "q": 0.61, "d": 0.61, "r": 0.62}, "student"),
        ({"s": 0.50, "q": 0.61, "d": 0.62, "r": 0.62}, "bridged queries"),
        ({"s": 0.50, "q": 0.50, "d": 0.62, "r": 0.62}, "bridged documents"),
        ({"s": 0.50, "q": 0.51, "d": 0.50, "r": 0.62}, "re-embedding"),
        ({"q": 0.51, "d": 0.50, "r": 0.62}, "re-embedding"),
        ({"s": 0.70, "q": 0.51, "d": 0.50, "r": 0.62}, "student"),
        ({"s": 0.60, "q": 0.60, "d": 0.66, "r": 0.62}, "bridged documents"),
        ({"s": 0.60, "q": 0.60, "d": 0.60, "r": 0.62, "o": 0.99}, "student"),  # the old model is no way to go on
        ({"s": 0.00, "q": 0.00, "d": 0.00, "r": 0.00}, "student"),
    ],
)
def test_the_first_way_that_keeps_enough_of_the_best_is_taken(scores, way):
    assert judged_verdict(judged(**scores), keep=0.95).way == way


def test_the_threshold_is_an_option_and_is_named():
    scores = judged(s=0.50, q=0.55, d=0.56, r=0.62)
    strict, lax = judged_verdict(scores, keep=0.95), judged_verdict(scores, keep=0.8)
    assert (strict.way, lax.way) == ("re-embedding", "student")
    assert "at least 80% (--keep)" in lax.rule
    assert lax.share == pytest.approx(0.50 / 0.62)
    assert "it keeps 80.6%" in lax.reason
    assert "student keeps 80.6%" in strict.reason


def test_what_keeps_todays_quality_is_compared_with_the_old_model():
    better = judged(s=0.58, q=0.55, d=0.55, r=0.70, o=0.60)
    assert (judged_verdict(better, keep=0.95).way, verdict_of_today(better, keep=0.95).way) == (
        "re-embedding",
        "student",
    )
    assert "it keeps 96.7%" in verdict_of_today(better, keep=0.95).reason
    only_new = judged(s=0.50, q=0.55, d=0.55, r=0.60, o=0.60)
    assert verdict_of_today(only_new, keep=0.95).way == "re-embedding"
    assert verdict_of_today(judged(s=0.50, q=0.50, d=0.50, r=0.50, o=0.60), keep=0.95) is None
    assert verdict_of_today(judged(s=0.50, q=0.50, d=0.50, r=0.50), keep=0.95) is None


@pytest.mark.parametrize(("spread", "sure"), [(0.001, True), (0.05, False)])
def test_a_verdict_that_an_interval_could_change_is_not_sure(spread, sure):
    assert judged_verdict(judged(spread=spread, s=0.60, q=0.5, d=0.5, r=0.62), keep=0.95).is_sure is sure
    assert judged_verdict(judged(spread=spread, s=0.57, q=0.5, d=0.5, r=0.62), keep=0.95).is_sure is sure


def agreement(overlap):
    around = Interval(overlap - 0.01, overlap + 0.01)
    return Agreement(overlap=overlap, overlap_interval=around, rank=overlap, rank_interval=around)


def test_without_judgements_the_overlap_decides_and_re_embedding_is_what_is_left():
    found = {name: agreement(0.5) for name in NAMES.values()}
    last = unjudged_verdict(found, overlap=0.7, queries="80 queries")
    assert (last.way, last.share, last.is_sure) == ("re-embedding", None, True)
    found["bridged queries"] = agreement(0.72)
    taken = unjudged_verdict(found, overlap=0.7, queries="80 queries")
    assert (taken.way, taken.share) == ("bridged queries", 0.72)
    assert "of the old ten best hits, over 80 queries, and student keeps 50.0%" in taken.reason
    assert not unjudged_verdict({**found, "student": agreement(0.695)}, overlap=0.7, queries="80 queries").is_sure
