"""The depth that a recall requires, and how many times the teacher's depth a student requires."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from eval.search_effort.curve import Curve
from leafkit.evaluation.bootstrap import Interval, interval, resampled_means
from leafkit.evaluation.metrics import Float64

TARGETS = (0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class RequiredDepth:
    """What a mean recall of ``target`` requires; None if no measured depth reaches it.

    ``teacher`` and ``student`` are depths, interpolated between the measured ones and never less than the first.
    ``teacher_distances`` and ``student_distances`` are the shares of documents compared at these depths. ``ratio`` is
    student / teacher, with the middle 95 % of resampled queries.
    """

    target: float
    teacher: float | None
    student: float | None
    ratio: float | None
    ratio_interval: Interval | None
    teacher_distances: float | None
    student_distances: float | None


def required_depths(teacher: Curve, student: Curve, *, seed: int) -> list[RequiredDepth]:
    """Return the required depths for each target. Both curves are of the same queries, resampled in pairs."""
    count = len(teacher.depths)
    resampled = resampled_means(numpy.concatenate([teacher.recall, student.recall]), seed=seed)
    found = []
    for target in TARGETS:
        of_student, of_teacher = (depth_for(curve.means, curve.depths, target) for curve in (student, teacher))
        student_depths = depth_for(resampled[:, count:], student.depths, target)
        ratios = student_depths / depth_for(resampled[:, :count], teacher.depths, target)
        found.append(
            RequiredDepth(
                target=target,
                teacher=_or_none(of_teacher),
                student=_or_none(of_student),
                ratio=_or_none(of_student / of_teacher),
                ratio_interval=interval(ratios),
                teacher_distances=_distances(teacher, of_teacher),
                student_distances=_distances(student, of_student),
            )
        )
    return found


def depth_for(means: Float64, depths: tuple[int, ...], target: float) -> Float64:
    """Return the depth at which ``means``, shape (..., depths), reach ``target``; NaN if they never do.

    Between two measured depths the logarithm of the depth is interpolated. A later dip is noise, so the best mean so
    far counts.
    """
    best = numpy.maximum.accumulate(means, axis=-1)
    first = (best >= target).argmax(axis=-1)[..., None]
    before = numpy.maximum(first - 1, 0)
    low, high = (numpy.take_along_axis(best, place, axis=-1)[..., 0] for place in (before, first))
    logs = numpy.log(depths)
    left, right = logs[before[..., 0]], logs[first[..., 0]]
    with numpy.errstate(invalid="ignore", divide="ignore"):
        share = numpy.where(high > low, (target - low) / (high - low), 1.0)
    return numpy.where(best[..., -1] >= target, numpy.exp(left + share * (right - left)), numpy.nan)


def _distances(curve: Curve, depth: Float64) -> float | None:
    return _or_none(numpy.interp(numpy.log(depth), numpy.log(curve.depths), curve.distances))


def _or_none(value: Float64) -> float | None:
    return None if numpy.isnan(value) else float(value)
