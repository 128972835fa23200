"""95 % intervals of means and of ratios of means, by resampling queries (Efron's percentile bootstrap).

All modes and students are compared on the same resampled queries (a paired comparison): Sakai, SIGIR 2006,
https://doi.org/10.1145/1148170.1148261
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from leafkit.evaluation.metrics import Float64
from leafkit.types import Int64

RESAMPLES = 2000
# Limits the memory of one block of resamples: how many query counts are drawn together.
_COUNTS_PER_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of the resampled values."""

    low: float
    high: float


def resampled_means(
    values: Float64, *, seed: int | Sequence[int], resamples: int = RESAMPLES, counts: Int64 | None = None
) -> Float64:
    """Return the mean of each row of ``values`` (rows, queries) over resampled queries, shape (resamples, rows).

    All rows use the same resamples, so differences and ratios between the columns of the result are paired.

    counts: how many queries have the values of each column, shape (columns,). Millions of queries with few different
        values then cost no more than these columns. By default each column is one query.
    """
    generator = numpy.random.default_rng(seed)
    counts = numpy.ones(values.shape[1], dtype=numpy.int64) if counts is None else counts
    queries = int(counts.sum())
    chance = counts / queries
    block = max(1, _COUNTS_PER_BLOCK // values.shape[1])
    means = [
        generator.multinomial(queries, chance, size=min(block, resamples - start)) @ values.T / queries
        for start in range(0, resamples, block)
    ]
    return numpy.concatenate(means)


def interval(sample: Float64) -> Interval | None:
    """Return the 2.5th to the 97.5th percentile of ``sample``, or None if a value is not finite (a ratio over zero)."""
    if not numpy.isfinite(sample).all():
        return None
    low, high = numpy.percentile(sample, [2.5, 97.5])
    return Interval(float(low), float(high))


def ratio_interval(upper: Float64, lower: Float64) -> Interval | None:
    """Return the interval of ``upper / lower``, where both hold means over the same resamples."""
    return interval(ratios(upper, lower))


def ratios(upper: Float64, lower: Float64) -> Float64:
    """Return ``upper / lower``; the result is not finite where ``lower`` is zero."""
    with numpy.errstate(divide="ignore", invalid="ignore"):
        return upper / lower
