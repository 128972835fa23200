"""Intervals over crossed seeds and items: coverage in simulations, scipy as the rival, and values worked by hand."""

import numpy
import pytest
from scipy import stats

from eval.screen.statistics import Difference, difference, holm, pseudo_values, verdict, worth_in_texts
from leafkit.evaluation.compare.statistics import RankCorrelation, mean_score


def crossed(draw, *, seeds=5, items=60, by_seed=0.0, by_item=0.0, rest=0.0, mean=0.0):
    """Draw differences with random effects of seeds and items."""
    of_seeds, of_items = draw.normal(0, by_seed, (seeds, 1)), draw.normal(0, by_item, (1, items))
    return mean + of_seeds + of_items + draw.normal(0, rest, (seeds, items))


@pytest.mark.parametrize(
    "spread",
    [
        {"by_seed": 0.1, "rest": 0.1},
        {"by_item": 0.3, "rest": 0.3},
        {"by_seed": 0.03, "by_item": 0.25, "rest": 0.3},
        {"by_seed": 0.03, "by_item": 0.25, "rest": 1.0},
    ],
)
def test_ninety_five_percent_of_the_intervals_cover_the_truth(spread):
    draw = numpy.random.default_rng(0)
    found = [difference([crossed(draw, mean=0.2, **spread)], [numpy.zeros((5, 60))]) for _ in range(300)]
    covered = numpy.mean([one.low <= 0.2 <= one.high for one in found])
    # Three standard errors of a share of 300 are 0.038. Too wide is allowed where the parts are hard to tell apart.
    assert 0.912 <= covered <= 0.99


def test_without_variance_between_items_the_interval_is_scipys_paired_test():
    draw = numpy.random.default_rng(0)
    own, theirs = draw.normal(0.8, 0.01, (5, 1)), draw.normal(0.79, 0.01, (5, 1))
    found = difference([numpy.repeat(own, 40, axis=1)], [numpy.repeat(theirs, 40, axis=1)])
    rival = stats.ttest_rel(own[:, 0], theirs[:, 0])
    assert (found.low, found.high) == pytest.approx(tuple(rival.confidence_interval(0.95)))
    assert found.p == pytest.approx(rival.pvalue)
    assert found.freedom == pytest.approx(4)


def test_without_variance_between_seeds_the_interval_is_scipys_test_of_the_items():
    each = numpy.random.default_rng(0).normal(0.1, 1, 50)
    found = difference([numpy.repeat(each[None], 5, axis=0)], [numpy.zeros((5, 50))])
    rival = stats.ttest_1samp(each, 0)
    assert (found.low, found.high) == pytest.approx(tuple(rival.confidence_interval(0.95)))
    assert found.freedom == pytest.approx(49)


def test_an_interval_by_hand():
    # Seeds differ by 1 and items by 2, without a rest: var(seeds) = 0.5 over 2 seeds, var(items) = 2 over 2 items.
    found = difference([numpy.array([[0.0, 2.0], [1.0, 3.0]])], [numpy.zeros((2, 2))])
    assert found.mean == 1.5
    assert (found.by_seeds**2, found.by_items**2) == pytest.approx((0.25, 1.0))
    assert found.freedom == pytest.approx(1.25**2 / (0.25**2 + 1.0))
    assert found.detectable == pytest.approx(2.8 * 1.25**0.5)


def test_a_figure_of_two_parts_weighs_the_parts_and_not_their_items():
    draw = numpy.random.default_rng(0)
    short, long = crossed(draw, items=10, by_item=1), crossed(draw, items=1000, by_item=1, mean=4)
    found = difference([short, long], [numpy.zeros_like(short), numpy.zeros_like(long)])
    assert found.mean == pytest.approx((short.mean() + long.mean()) / 2)
    alone = difference([short], [numpy.zeros_like(short)])
    assert found.by_items == pytest.approx(alone.by_items / 2, rel=0.02)


def test_swapping_the_sides_mirrors_the_interval():
    one, other = numpy.random.default_rng(0).random((2, 5, 30))
    there, back = difference([one], [other]), difference([other], [one])
    assert (there.low, there.high, there.p) == pytest.approx((-back.high, -back.low, back.p))


def test_equal_sides_have_no_difference():
    scores = numpy.random.default_rng(0).random((3, 20))
    found = difference([scores], [scores])
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_pseudo_values_of_a_correlation_give_its_standard_error():
    draw = numpy.random.default_rng(0)
    gold = draw.normal(size=200)
    scores = gold[None] + draw.normal(size=(1, 200))
    values = pseudo_values(scores, RankCorrelation(gold))[0]
    # The standard error of Spearman's r over resamples of the pairs.
    rows = draw.integers(0, 200, (500, 200))
    resampled = [stats.spearmanr(scores[0][row], gold[row])[0] for row in rows]
    assert values.std(ddof=1) / 200**0.5 == pytest.approx(numpy.std(resampled), rel=0.15)


def test_pseudo_values_of_a_mean_are_the_scores():
    scores = numpy.random.default_rng(0).random((2, 9))
    assert pseudo_values(scores, lambda each, counts: mean_score(each, counts)) == pytest.approx(scores)


def test_holm_by_hand_and_against_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    p = numpy.random.default_rng(0).random(20) ** 3
    adjusted = holm(p.tolist())
    ordered = numpy.sort(p)
    steps = numpy.array([min(1, max((20 - k) * ordered[k] for k in range(rank + 1))) for rank in range(20)])
    assert numpy.sort(adjusted) == pytest.approx(steps)
    assert all(one >= other for one, other in zip(adjusted, p))


def _found(low, high, baseline=0.5):
    mean = (low + high) / 2
    return Difference(
        mean=mean, low=low, high=high, p=0.01, error=1, by_seeds=1, by_items=1, freedom=4, baseline=baseline
    )


@pytest.mark.parametrize(
    ("low", "high", "adjusted", "expected"),
    [
        (0.004, 0.02, 0.01, "helps"),
        (0.004, 0.02, 0.06, "unresolved"),
        (-0.02, -0.004, 0.01, "harms"),
        (-0.002, 0.002, 1.0, "no difference"),
        (0.0005, 0.002, 0.001, "no difference"),
        (-0.002, 0.0026, 1.0, "unresolved"),
    ],
)
def test_a_verdict_says_no_more_than_its_interval(low, high, adjusted, expected):
    # The region of equivalence is 0.5 % of 0.5, that is 0.0025.
    assert verdict(_found(low, high), adjusted) == expected


def test_where_less_is_better_a_fall_helps():
    assert verdict(_found(-0.02, -0.01), 0.01, larger_is_better=False) == "helps"


def test_a_gain_is_worth_the_texts_at_which_leaf_has_it():
    curve = {1000: 0.5, 2000: 0.6, 4000: 0.7}
    assert worth_in_texts(curve, 2000, 0.1) == pytest.approx(2)
    assert worth_in_texts(curve, 2000, 0.05) == pytest.approx(2**0.5)
    assert worth_in_texts(curve, 2000, -0.1) == pytest.approx(0.5)
    assert worth_in_texts(curve, 2000, 0.0) == pytest.approx(1)
    assert worth_in_texts(curve, 2000, 0.11) is None
    assert worth_in_texts({2000: 0.5}, 2000, 0.0) is None
