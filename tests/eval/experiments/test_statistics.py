import numpy
import pytest
from scipy import stats

from eval.experiments.statistics import difference, summary


def test_the_interval_is_that_of_scipys_paired_test():
    draw = numpy.random.default_rng(0)
    base, variant = draw.normal(0.8, 0.01, 5), draw.normal(0.81, 0.01, 5)
    found = difference(dict(enumerate(variant)), dict(enumerate(base)))
    low, high = stats.ttest_rel(variant, base).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(variant.mean() - base.mean())


def test_by_hand():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t 4.303 for two degrees of freedom.
    found = difference({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})
    assert (found.low, found.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("variant", "verdict"),
    [((1.1, 2.1, 3.11), "better"), ((0.9, 1.9, 2.89), "worse"), ((1.0, 2.0, 3.0), "undecided"), ((2.0,), "undecided")],
)
def test_a_verdict_needs_an_interval_on_one_side_of_zero(variant, verdict):
    assert difference(dict(enumerate(variant)), {0: 1.0, 1: 2.0, 2: 3.0}).verdict == verdict


def test_only_shared_seeds_are_paired_and_swapping_sides_swaps_the_sign():
    one, other = {0: 1.0, 1: 2.5, 7: 100.0}, {0: 0.5, 1: 1.5, 3: -100.0}
    there, back = difference(one, other), difference(other, one)
    assert there.seeds == 2
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert difference({0: 1.0}, {1: 1.0}) is None


def test_a_mean_over_one_seed_has_no_deviation():
    assert summary([0.5]).deviation is None
    assert summary([1.0, 3.0]).deviation == pytest.approx(2**0.5)
