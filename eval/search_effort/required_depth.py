"""The depth that a recall takes, and how many times the teacher's a student needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from eval.effort.curve import Curve
from leafkit.evaluation.bootstrap import Interval, interval, resampled_means
from leafkit.evaluation.metrics import Float64

TARGETS = (0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a mean recall of ``target`` takes; None where no depth reaches it.

    ``teacher`` and ``student`` are depths, interpolated between those measured (the first one measured is the least
    there is); ``distances`` those shares of documents; ``ratio`` is student / teacher, with the middle 95 % of
    resampled queries.
    """

    target: float
    teacher: float | None
    student: float | None
    ratio: float | None
    ratio_interval: Interval | None
    teacher_distances: float | None
    student_distances: float | None


def needs(teacher: Curve, student: Curve, *, seed: int) -> list[Need]:
    """The need for each target; both curves are of the same queries, which are resampled in pairs."""
    count = len(teacher.depths)
    resampled = resampled_means(numpy.concatenate([teacher.recall, student.recall]), seed=seed)
    found = []
    for target in TARGETS:
        ours, theirs = (needed(curve.means, curve.depths, target) for curve in (student, teacher))
        ratios = needed(resampled[:, count:], student.depths, target) / needed(
            resampled[:, :count], teacher.depths, target
        )
        found.append(
            Need(
                target=target,
                teacher=_or_none(theirs),
                student=_or_none(ours),
                ratio=_or_none(ours / theirs),
                ratio_interval=interval(ratios),
                teacher_distances=_distances(teacher, theirs),
                student_distances=_distances(student, ours),
            )
        )
    return found


def needed(means: Float64, depths: tuple[int, ...], target: float) -> Float64:
    """The depth at which ``means`` (..., depths) reach ``target``, on a line between logarithms; NaN where never.

    A dip after a depth that reached it is noise: what counts is the best mean so far.
    """
    best = numpy.maximum.accumulate(means, axis=-1)
    at = (best >= target).argmax(axis=-1)[..., None]
    before = numpy.maximum(at - 1, 0)
    low, high = (numpy.take_along_axis(best, place, axis=-1)[..., 0] for place in (before, at))
    logs = numpy.log(depths)
    left, right = logs[before[..., 0]], logs[at[..., 0]]
    with numpy.errstate(invalid="ignore", divide="ignore"):
        share = numpy.where(high > low, (target - low) / (high - low), 1.0)
    return numpy.where(best[..., -1] >= target, numpy.exp(left + share * (right - left)), numpy.nan)


def _distances(curve: Curve, depth: Float64) -> float | None:
    return _or_none(numpy.interp(numpy.log(depth), numpy.log(curve.depths), curve.distances))


def _or_none(value: Float64) -> float | None:
    return None if numpy.isnan(value) else float(value)
