"""Differences with intervals: laws, and scipy as the rival of the ranks and of the t-interval."""

import numpy
import pytest
from scipy import stats
from scipy.stats import spearmanr

from leafkit.evaluation.compare.statistics import (
    RankCorrelation,
    bootstrap_difference,
    figures,
    mean_score,
    seed_difference,
    summary,
)
from leafkit.methods.ledger import format_difference


@pytest.fixture
def draw():
    return numpy.random.default_rng(0)


def test_equal_scores_tie_with_an_interval_of_no_width(draw):
    scores = draw.random((5, 40))
    difference = bootstrap_difference(scores, scores, mean_score)
    assert (difference.mean, difference.low, difference.high, difference.verdict) == (0, 0, 0, "ties")


def test_a_recipe_that_is_better_on_every_item_beats_by_exactly_that(draw):
    scores = draw.random((5, 40))
    difference = bootstrap_difference(scores + 0.25, scores, mean_score)
    assert [difference.mean, difference.low, difference.high] == pytest.approx([0.25] * 3)
    assert difference.verdict == "beats"
    assert bootstrap_difference(scores, scores + 0.25, mean_score).verdict == "loses"


def test_swapping_the_sides_mirrors_the_interval(draw):
    one, other = draw.random((2, 5, 40))
    there, back = bootstrap_difference(one, other, mean_score), bootstrap_difference(other, one, mean_score)
    assert [back.mean, back.low, back.high] == pytest.approx([-there.mean, -there.high, -there.low])


def test_the_interval_of_one_seed_is_that_of_the_mean_over_items(draw):
    each = draw.normal(0.1, 1, (1, 400))
    difference = bootstrap_difference(each, numpy.zeros_like(each), mean_score)
    reach = 1.96 * each.std() / numpy.sqrt(400)
    assert [difference.low, difference.high] == pytest.approx([each.mean() - reach, each.mean() + reach], abs=0.015)


def test_seeds_that_disagree_widen_the_interval(draw):
    noise = draw.normal(0, 0.01, (5, 400))
    agreed = bootstrap_difference(noise + 0.1, numpy.zeros_like(noise), mean_score)
    seeds = numpy.array([[-0.3], [-0.1], [0.1], [0.3], [0.5]])
    difference = bootstrap_difference(noise + seeds, numpy.zeros_like(noise), mean_score)
    assert agreed.verdict == "beats"
    assert difference.mean == pytest.approx(agreed.mean)
    assert difference.verdict == "ties"


def test_the_same_seed_draws_the_same_interval(draw):
    one, other = draw.random((2, 3, 30))
    assert bootstrap_difference(one, other, mean_score) == bootstrap_difference(one, other, mean_score)
    assert bootstrap_difference(one, other, mean_score) != bootstrap_difference(one, other, mean_score, seed=1)


@pytest.mark.parametrize("steps", [1000, 4])
def test_the_rank_correlation_of_items_that_count_several_times_is_scipys(draw, steps):
    gold, scores = draw.integers(0, 5, 50).astype(float), numpy.round(draw.random((3, 50)) * steps)
    counts = draw.multinomial(50, numpy.full(50, 1 / 50), size=7).astype(float)
    found = RankCorrelation(gold)(scores, counts)
    for resample, row in enumerate(counts):
        rows = numpy.repeat(numpy.arange(50), row.astype(int))
        for seed, values in enumerate(scores):
            assert found[resample, seed] == pytest.approx(spearmanr(values[rows], gold[rows])[0])


def test_a_constant_has_no_rank_correlation():
    assert figures(numpy.ones((2, 9)), RankCorrelation(numpy.arange(9.0))).tolist() == [0, 0]


def test_no_rescaling_changes_a_rank_correlation(draw):
    gold, scores = draw.random(30), draw.random((2, 30))
    statistic = RankCorrelation(gold)
    assert figures(numpy.exp(3 * scores), statistic) == pytest.approx(figures(scores, statistic))
    assert figures(gold[None], statistic) == pytest.approx([1])


def test_a_difference_is_shown_with_its_sign():
    assert format_difference({"mean": 0.01, "low": -0.002, "high": 0.03}) == "+0.0100 [-0.0020, +0.0300]"


def test_the_t_interval_is_that_of_scipys_paired_test():
    draw = numpy.random.default_rng(0)
    base, variant = draw.normal(0.8, 0.01, 5), draw.normal(0.81, 0.01, 5)
    found = seed_difference(dict(enumerate(variant)), dict(enumerate(base)))
    low, high = stats.ttest_rel(variant, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(variant.mean() - base.mean())


def test_a_t_interval_by_hand():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t 4.303 for two degrees of freedom.
    found = seed_difference({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("variant", "verdict"),
    [((1.1, 2.1, 3.11), "better"), ((0.9, 1.9, 2.89), "worse"), ((1.0, 2.0, 3.0), "undecided"), ((2.0,), "undecided")],
)
def test_a_verdict_needs_an_interval_on_one_side_of_zero(variant, verdict):
    assert seed_difference(dict(enumerate(variant)), {0: 1.0, 1: 2.0, 2: 3.0}).verdict == verdict


def test_only_shared_seeds_are_paired_and_swapping_sides_swaps_the_sign():
    one, other = {0: 1.0, 1: 2.5, 7: 100.0}, {0: 0.5, 1: 1.5, 3: -100.0}
    there, back = seed_difference(one, other), seed_difference(other, one)
    assert there.seeds == 2
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert seed_difference({0: 1.0}, {1: 1.0}) is None


def test_a_mean_over_one_seed_has_no_deviation():
    assert summary([0.5]).deviation is None
    assert summary([1.0, 3.0]).deviation == pytest.approx(2**0.5)
