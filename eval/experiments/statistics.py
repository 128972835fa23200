"""Means over seeds, and differences paired by seed with their 95 % t-interval.

The interval is over seeds: it covers the chance of training, not of which queries a collection happens to hold, and
it is not corrected for how many variants are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from leafkit.extras import import_optional

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The mean of ``values`` (one a seed) and their standard deviation; None with a single seed."""

    mean: float
    deviation: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean difference to the base over the seeds that both have, with its interval; None with a single seed."""

    mean: float
    low: float | None
    high: float | None
    seeds: int
    verdict: Verdict


def summary(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation."""
    deviation = float(numpy.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(mean=float(numpy.mean(values)), deviation=deviation, values=tuple(values))


def difference(variant: Mapping[int, float], base: Mapping[int, float]) -> Difference | None:
    """``variant`` less ``base``, both by seed; None where they share no seed."""
    seeds = sorted({*variant} & {*base})
    if not seeds:
        return None
    each = numpy.array([variant[seed] - base[seed] for seed in seeds])
    mean = float(each.mean())
    if len(each) < 2:
        return Difference(mean=mean, low=None, high=None, seeds=1, verdict="undecided")
    student: Any = import_optional("scipy.stats").t
    reach = float(student.ppf(0.975, len(each) - 1) * each.std(ddof=1) / numpy.sqrt(len(each)))
    low, high = mean - reach, mean + reach
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
    return Difference(mean=mean, low=low, high=high, seeds=len(each), verdict=verdict)
