"""The difference of two systems over the same seeds and items, with the interval of a paired bootstrap over both.

Seeds and items are drawn anew at once (the bootstrap of crossed factors), so that the interval covers the chance of
training as well as that of which items a collection happens to hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy

from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.metrics import Float64

Verdict = Literal["beats", "loses", "ties"]
Statistic = Callable[[Float64, Float64], Float64]
"""From scores (seeds, items) and how often each item counts (resamples, items) to figures (resamples, seeds)."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A system's figure less its baseline's, the mean over seeds, with the middle 95 % of the resampled ones."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Whether the interval lies above 0, below it, or around it."""
        return "beats" if self.low > 0 else "loses" if self.high < 0 else "ties"


def mean(scores: Float64, counts: Float64) -> Float64:
    """The mean of the items that count."""
    return counts @ scores.T / counts.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of scores with ``gold``, (items,): Pearson's of the ranks, ties at their mean rank."""

    gold: Float64

    def __call__(self, scores: Float64, counts: Float64) -> Float64:
        """The correlation over the items that count; 0 where either side is constant."""
        gold = _centred_ranks(self.gold, counts)
        return numpy.stack([_correlation(_centred_ranks(each, counts), gold, counts) for each in scores], axis=1)


def figures(scores: Float64, statistic: Statistic) -> Float64:
    """The figure of each seed, (seeds,), over all items of ``scores`` (seeds, items)."""
    return statistic(scores, numpy.ones((1, scores.shape[1])))[0]


def difference(system: Float64, baseline: Float64, statistic: Statistic, *, seed: int = 0) -> Difference:
    """``system`` less ``baseline``, both (seeds, items) of the same seeds and items in the same order."""
    seeds, items = system.shape
    generator = numpy.random.default_rng(seed)
    counts = generator.multinomial(items, numpy.full(items, 1 / items), size=RESAMPLES).astype(numpy.float64)
    weights = generator.multinomial(seeds, numpy.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    each = statistic(system, counts) - statistic(baseline, counts)
    low, high = numpy.percentile((each * weights).sum(axis=1), [2.5, 97.5])
    middle = float((figures(system, statistic) - figures(baseline, statistic)).mean())
    return Difference(mean=middle, low=float(low), high=float(high))


def _centred_ranks(values: Float64, counts: Float64) -> Float64:
    """The rank of each of ``values`` (items,) among those that count, less their mean; (resamples, items)."""
    _, starts, group = numpy.unique(numpy.sort(values), return_index=True, return_inverse=True)
    order = numpy.argsort(values, kind="stable")
    alike = numpy.add.reduceat(counts[:, order], starts, axis=1)
    ranks = numpy.empty_like(counts)
    ranks[:, order] = (alike.cumsum(axis=1) - (alike - 1) / 2)[:, group]
    return ranks - (ranks * counts).sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)


def _correlation(one: Float64, other: Float64, counts: Float64) -> Float64:
    together = (counts * one * other).sum(axis=1)
    apart = numpy.sqrt((counts * one**2).sum(axis=1) * (counts * other**2).sum(axis=1))
    return numpy.divide(together, apart, out=numpy.zeros_like(together), where=apart > 0)
