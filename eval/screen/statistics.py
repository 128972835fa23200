"""Differences with intervals that cover seeds and items, Holm's correction over many of them, and the verdicts.

Both sides are trained with the same seeds and measured on the same items, so seeds and items are crossed random factors
of the differences. With S seeds and I items, d_si = mean + seed_s + item_i + rest_si, and the variance of the
mean difference is var(seed)/S + var(item)/I + var(rest)/(S I). The variance of the seeds' means estimates the first and
the last term, that of the items' means the second and the last; the rest is estimated by itself and counted once. The
interval is Student's with Satterthwaite's degrees of freedom (Biometrics Bulletin 1946,
https://doi.org/10.2307/3002019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from leafkit.evaluation.compare.statistics import Statistic, figures, mean_score
from leafkit.evaluation.metrics import Float64
from leafkit.extras import import_optional

Verdict = Literal["helps", "harms", "no difference", "unresolved"]

REGION = 0.005
"""Half the width of the region of equivalence, as a share of the baseline's figure."""

LEVEL = 0.05
_DETECTABLE = 2.8
"""The standard errors of an effect that is found four times in five: 1.96 for the interval and 0.84 for the power."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """System minus baseline.

    ``low`` to ``high`` is the 95 % interval and ``p`` the two-sided p-value. ``by_seeds`` and ``by_items`` are the
    parts of the standard error ``error``, ``freedom`` are its degrees of freedom. ``baseline`` is the baseline's
    figure.
    """

    mean: float
    low: float
    high: float
    p: float
    error: float
    by_seeds: float
    by_items: float
    freedom: float
    baseline: float

    @property
    def detectable(self) -> float:
        """The smallest difference that would be found four times in five."""
        return _DETECTABLE * self.error


def difference(system: Sequence[Float64], baseline: Sequence[Float64], statistic: Statistic = mean_score) -> Difference:
    """Return ``system`` minus ``baseline`` with its interval.

    Each side is a sequence of parts, of shape (seeds, items of the part); the figure is the mean over the parts of
    ``statistic``. Needs two seeds or more.
    """
    own, theirs = (numpy.mean([figures(part, statistic) for part in side], axis=0) for side in (system, baseline))
    seeds, parts = len(own), len(system)
    by_seeds = float((own - theirs).var(ddof=1) / seeds)
    by_items, spread = 0.0, by_seeds**2 / (seeds - 1)
    for one, other in zip(system, baseline, strict=True):
        part = _items_variance(pseudo_values(one, statistic) - pseudo_values(other, statistic)) / parts**2
        by_items += part
        spread += part**2 / (one.shape[1] - 1)
    error = (by_seeds + by_items) ** 0.5
    freedom = error**4 / spread if spread > 0 else float(seeds - 1)
    return _student(float((own - theirs).mean()), error, freedom, by_seeds**0.5, by_items**0.5, float(theirs.mean()))


def _student(mean: float, error: float, freedom: float, by_seeds: float, by_items: float, base: float) -> Difference:
    t: Any = import_optional("scipy.stats").t
    reach = float(t.ppf(1 - LEVEL / 2, freedom)) * error
    p = float(2 * t.sf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    return Difference(
        mean=mean,
        low=mean - reach,
        high=mean + reach,
        p=p,
        error=error,
        by_seeds=by_seeds,
        by_items=by_items,
        freedom=freedom,
        baseline=base,
    )


def _items_variance(differences: Float64) -> float:
    """Return the part of the variance of the mean of ``differences``, (seeds, items), that the items alone cause."""
    seeds, items = differences.shape
    of_items, of_seeds = differences.mean(axis=0), differences.mean(axis=1)
    rest = differences - of_items - of_seeds[:, None] + differences.mean()
    rest_variance = (rest**2).sum() / ((seeds - 1) * (items - 1))
    return max(0.0, float((of_items.var(ddof=1) - rest_variance / seeds) / items))


def pseudo_values(scores: Float64, statistic: Statistic) -> Float64:
    """Return the jackknife's pseudo-value of each item, (seeds, items): the scores themselves if the figure is a mean.

    Tukey 1958: n times the figure of all items, less n - 1 times the figure without the item.
    """
    if statistic is mean_score:
        return scores
    items = scores.shape[1]
    without = statistic(scores, numpy.ones((items, items)) - numpy.eye(items)).T
    return items * figures(scores, statistic)[:, None] - (items - 1) * without


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values of a family of tests, in the order given (Scand. J. Statist. 1979)."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def verdict(found: Difference, adjusted: float, *, larger_is_better: bool = True) -> Verdict:
    """Return what may be said of ``found``, whose p-value is ``adjusted`` for the number of tests.

    ``no difference``: the interval lies within `REGION` of the baseline's figure around 0, even if it excludes 0.
    ``helps`` or ``harms``: the adjusted p-value is below 5 %. ``unresolved``: anything else.
    """
    region = REGION * abs(found.baseline)
    if -region <= found.low and found.high <= region:
        return "no difference"
    if adjusted >= LEVEL:
        return "unresolved"
    return "helps" if (found.mean > 0) == larger_is_better else "harms"


def worth_in_texts(curve: dict[int, float], texts: int, gain: float) -> float | None:
    """Return how many times as many texts plain LEAF needs for ``gain`` more than at ``texts``.

    ``curve`` maps numbers of texts to LEAF's figure, which is interpolated over the logarithm of the number and taken
    not to fall. None if the gain lies outside of the curve, or the curve has a single point.
    """
    counts = sorted(curve)
    heights = numpy.maximum.accumulate([curve[count] for count in counts])
    if texts not in curve or len(counts) < 2:
        return None
    wanted = curve[texts] + gain
    if not heights[0] <= wanted <= heights[-1]:
        return None
    return float(numpy.exp(numpy.interp(wanted, heights, numpy.log(counts))) / texts)
