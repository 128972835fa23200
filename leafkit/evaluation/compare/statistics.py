"""The difference of a variant from its baseline with a 95 % interval: two kinds, for two kinds of figures.

`bootstrap_difference` needs a score for each item of a task. It resamples seeds and items together (the bootstrap of
crossed factors), so its interval covers the randomness of training and the choice of the items. `leafkit.compare`
uses it.

`seed_difference` needs one figure for each seed, such as a mean cosine. It is a t-interval of the differences paired
by seed, so it covers the randomness of training alone. It serves measures that keep no scores by item. Neither interval
is corrected for the number of variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.metrics import Float64
from leafkit.extras import import_optional

Verdict = Literal["beats", "loses", "ties"]
SeedVerdict = Literal["better", "worse", "undecided"]
Statistic = Callable[[Float64, Float64], Float64]
"""From scores (seeds, items) and how often each item counts (resamples, items) to figures (resamples, seeds)."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A recipe's figure minus its baseline's: the mean over seeds and the middle 95 % of the resampled ones."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """``beats`` if the interval lies above 0, ``loses`` if it lies below 0, else ``ties``."""
        return "beats" if self.low > 0 else "loses" if self.high < 0 else "ties"


@dataclass(frozen=True, kw_only=True)
class SeedDifference:
    """The mean difference over the seeds that both sides have, with its t-interval; None for a single seed.

    ``verdict`` is ``better`` if the interval lies above 0, ``worse`` if it lies below 0, else ``undecided``.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    verdict: SeedVerdict


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The mean and sample standard deviation of ``values``, one for each seed; no deviation for a single seed."""

    mean: float
    deviation: float | None
    values: tuple[float, ...]


def bootstrap_difference(system: Float64, baseline: Float64, statistic: Statistic, *, seed: int = 0) -> Difference:
    """Return ``system`` minus ``baseline`` with the interval of a paired bootstrap over seeds and items.

    Both are scores of shape (seeds, items), for the same seeds and items in the same order.
    """
    seeds, items = system.shape
    generator = numpy.random.default_rng(seed)
    counts = generator.multinomial(items, numpy.full(items, 1 / items), size=RESAMPLES).astype(numpy.float64)
    weights = generator.multinomial(seeds, numpy.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    differences = statistic(system, counts) - statistic(baseline, counts)
    low, high = numpy.percentile((differences * weights).sum(axis=1), [2.5, 97.5])
    mean = float((figures(system, statistic) - figures(baseline, statistic)).mean())
    return Difference(mean=mean, low=float(low), high=float(high))


def seed_difference(variant: Mapping[int, float], base: Mapping[int, float]) -> SeedDifference | None:
    """Return ``variant`` minus ``base`` with a t-interval; both map seeds to figures. None if they share no seed."""
    seeds = sorted({*variant} & {*base})
    if not seeds:
        return None
    differences = numpy.array([variant[seed] - base[seed] for seed in seeds])
    count, mean = len(seeds), float(differences.mean())
    if count < 2:
        return SeedDifference(mean=mean, low=None, high=None, seeds=1, verdict="undecided")
    t: Any = import_optional("scipy.stats").t
    half_width = float(t.ppf(0.975, count - 1) * differences.std(ddof=1) / numpy.sqrt(count))
    low, high = mean - half_width, mean + half_width
    verdict: SeedVerdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
    return SeedDifference(mean=mean, low=low, high=high, seeds=count, verdict=verdict)


def summary(values: Sequence[float]) -> Summary:
    """Return the mean and sample standard deviation of ``values``."""
    deviation = float(numpy.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(mean=float(numpy.mean(values)), deviation=deviation, values=tuple(values))


def figures(scores: Float64, statistic: Statistic) -> Float64:
    """Return the figure of each seed, shape (seeds,), over all items of ``scores``, shape (seeds, items)."""
    return statistic(scores, numpy.ones((1, scores.shape[1])))[0]


def mean_score(scores: Float64, counts: Float64) -> Float64:
    """Return the mean score over items, each weighted by its count. A `Statistic`."""
    return counts @ scores.T / counts.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of scores with ``gold``, shape (items,). A `Statistic`.

    This is Pearson's correlation of the ranks, where ties share their mean rank.
    """

    gold: Float64

    def __call__(self, scores: Float64, counts: Float64) -> Float64:
        """Return the correlation over the resampled items; 0 where either side is constant."""
        gold = _centred_ranks(self.gold, counts)
        return numpy.stack([_correlation(_centred_ranks(row, counts), gold, counts) for row in scores], axis=1)


def _centred_ranks(values: Float64, counts: Float64) -> Float64:
    """Return the ranks of ``values`` (items,) among the resampled items, minus their mean: (resamples, items)."""
    _, starts, group = numpy.unique(numpy.sort(values), return_index=True, return_inverse=True)
    order = numpy.argsort(values, kind="stable")
    ties = numpy.add.reduceat(counts[:, order], starts, axis=1)
    ranks = numpy.empty_like(counts)
    ranks[:, order] = (ties.cumsum(axis=1) - (ties - 1) / 2)[:, group]
    return ranks - (ranks * counts).sum(axis=1, keepdims=True) / counts.sum(axis=1, keepdims=True)


def _correlation(left: Float64, right: Float64, counts: Float64) -> Float64:
    covariance = (counts * left * right).sum(axis=1)
    scale = numpy.sqrt((counts * left**2).sum(axis=1) * (counts * right**2).sum(axis=1))
    return numpy.divide(covariance, scale, out=numpy.zeros_like(covariance), where=scale > 0)
