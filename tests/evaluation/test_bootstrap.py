from __future__ import annotations

import numpy
import pytest

from leafkit.evaluation import bootstrap
from leafkit.evaluation.bootstrap import interval, ratio_interval, resampled_means


def scores(rows=2, queries=300, seed=0):
    return numpy.random.default_rng(seed).random((rows, queries))


def test_a_student_equal_to_its_teacher_retains_everything_on_any_queries():
    means = resampled_means(numpy.repeat(scores(1), 2, axis=0), seed=0)
    span = ratio_interval(means[:, 0], means[:, 1])
    assert (span.low, span.high) == (1.0, 1.0)


def test_half_the_score_on_every_query_is_a_ratio_of_one_half_on_any_queries():
    values = scores(1)
    means = resampled_means(numpy.concatenate([values / 2, values]), seed=0)
    span = ratio_interval(means[:, 0], means[:, 1])
    assert (span.low, span.high) == pytest.approx((0.5, 0.5))


def test_pairing_narrows_the_interval_of_similar_scores():
    values = scores(1, 200)
    near = values + numpy.random.default_rng(1).normal(scale=0.01, size=values.shape)
    means = resampled_means(numpy.concatenate([near, values]), seed=0)
    paired = ratio_interval(means[:, 0], means[:, 1])
    unpaired = ratio_interval(means[:, 0], resampled_means(values, seed=1)[:, 0])
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 10


def test_the_interval_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    values = scores(1, 100)
    theirs = stats.bootstrap(
        (values[0],), numpy.mean, n_resamples=5000, method="percentile", rng=numpy.random.default_rng(0)
    ).confidence_interval
    ours = interval(resampled_means(values, seed=0, resamples=5000)[:, 0])
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_interval_of_a_ratio_agrees_with_scipys_paired_bootstrap():
    stats = pytest.importorskip("scipy.stats")
    teacher = scores(1, 100)[0]
    student = teacher * numpy.random.default_rng(1).uniform(0.5, 1, 100)

    def ratio(upper, lower, axis):
        return upper.mean(axis=axis) / lower.mean(axis=axis)

    how = {"n_resamples": 5000, "method": "percentile", "paired": True, "rng": numpy.random.default_rng(0)}
    theirs = stats.bootstrap((student, teacher), ratio, **how).confidence_interval
    means = resampled_means(numpy.stack([student, teacher]), seed=0, resamples=5000)
    ours = ratio_interval(means[:, 0], means[:, 1])
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)


def test_the_mean_lies_in_its_interval():
    values = scores(3)
    means = resampled_means(values, seed=0)
    for row in range(3):
        span = interval(means[:, row])
        assert span.low < values[row].mean() < span.high


def test_a_seed_gives_the_same_interval_for_any_block_size(monkeypatch):
    values = scores()
    whole = resampled_means(values, seed=3)
    monkeypatch.setattr(bootstrap, "_COUNTS_PER_BLOCK", 1000)
    numpy.testing.assert_allclose(resampled_means(values, seed=3), whole, rtol=1e-12)
    assert not numpy.array_equal(resampled_means(values, seed=4), whole)


def test_a_single_query_has_an_interval_of_width_zero():
    span = interval(resampled_means(numpy.array([[0.25]]), seed=0)[:, 0])
    assert (span.low, span.high) == (0.25, 0.25)


def test_a_ratio_over_zero_has_no_interval():
    means = resampled_means(numpy.array([[1.0, 0.0], [0.0, 0.0]]), seed=0)
    assert ratio_interval(means[:, 0], means[:, 1]) is None
