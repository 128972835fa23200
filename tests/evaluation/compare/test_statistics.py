"""The difference of two systems: laws of its interval, and scipy as the rival of its ranks."""

import numpy
import pytest
from scipy.stats import spearmanr

from leafkit.evaluation.compare.statistics import RankCorrelation, difference, figures, mean
from leafkit.methods.ledger import format_difference


@pytest.fixture
def draw():
    return numpy.random.default_rng(0)


def test_equal_systems_tie_with_an_interval_of_no_width(draw):
    scores = draw.random((5, 40))
    apart = difference(scores, scores, mean)
    assert (apart.mean, apart.low, apart.high, apart.verdict) == (0, 0, 0, "ties")


def test_a_system_that_is_better_on_every_item_beats_by_exactly_that(draw):
    scores = draw.random((5, 40))
    apart = difference(scores + 0.25, scores, mean)
    assert [apart.mean, apart.low, apart.high] == pytest.approx([0.25] * 3)
    assert apart.verdict == "beats"
    assert difference(scores, scores + 0.25, mean).verdict == "loses"


def test_exchanging_the_sides_turns_the_interval_around(draw):
    one, other = draw.random((2, 5, 40))
    there, back = difference(one, other, mean), difference(other, one, mean)
    assert [back.mean, back.low, back.high] == pytest.approx([-there.mean, -there.high, -there.low])


def test_the_interval_of_one_seed_is_that_of_the_mean_over_items(draw):
    each = draw.normal(0.1, 1, (1, 400))
    apart = difference(each, numpy.zeros_like(each), mean)
    reach = 1.96 * each.std() / numpy.sqrt(400)
    assert [apart.low, apart.high] == pytest.approx([each.mean() - reach, each.mean() + reach], abs=0.015)


def test_seeds_that_disagree_widen_the_interval(draw):
    noise = draw.normal(0, 0.01, (5, 400))
    agreed = difference(noise + 0.1, numpy.zeros_like(noise), mean)
    apart = difference(noise + numpy.array([[-0.3], [-0.1], [0.1], [0.3], [0.5]]), numpy.zeros_like(noise), mean)
    assert agreed.verdict == "beats"
    assert apart.mean == pytest.approx(agreed.mean)
    assert apart.verdict == "ties"


def test_the_same_seed_draws_the_same_interval(draw):
    one, other = draw.random((2, 3, 30))
    assert difference(one, other, mean) == difference(one, other, mean)
    assert difference(one, other, mean) != difference(one, other, mean, seed=1)


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
