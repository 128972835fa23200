"""How close the student is to its teacher on held-out texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.students.held_out import FEWEST_TEXTS
from leafkit.training.batches import sample_rows
from leafkit.types import Float32
from leafkit.vectors.cosine import row_cosines, unit_rows

NEIGHBOURS = 10
# The cost of the neighbour search grows with the square of the number of texts: 4,000 take a fraction of a second,
# 60,000 take two minutes and 2 GB.
MOST_NEIGHBOURED = 10_000


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one validation, over the held-out texts.

    ``cosine_mean`` and ``cosine_p5`` (the 5th percentile) are cosines of student and teacher vectors of the same text.
    ``overlap_at_10`` is the share of the teacher's ten nearest held-out texts that the student's vector finds among
    the teacher's vectors. With more than 10,000 texts, a random sample of 10,000 is searched; with fewer than 200, the
    figure is None. ``spread`` is the student's variance relative to the teacher's. ``distance`` is the mean Euclidean
    distance.
    """

    cosine_mean: float
    cosine_p5: float
    overlap_at_10: float | None
    spread: float
    distance: float


def measure(student: Float32, teacher: Float32) -> Figures:
    """Compute all figures from the vectors of ``student`` and ``teacher`` of the same texts, both (rows, dim)."""
    cosines = row_cosines(student, teacher)
    sample = sample_rows(numpy.arange(len(teacher)), MOST_NEIGHBOURED, seed=0)
    neighboured = len(sample) >= FEWEST_TEXTS
    return Figures(
        cosine_mean=float(cosines.mean()),
        cosine_p5=float(numpy.percentile(cosines, 5)),
        overlap_at_10=overlap(student[sample], teacher[sample], NEIGHBOURS) if neighboured else None,
        spread=spread(student, teacher),
        distance=float(numpy.linalg.norm(student - teacher, axis=1).mean()),
    )


def overlap(student: Float32, teacher: Float32, neighbours: int) -> float:
    """Return the share of the teacher's neighbours that the student's vectors find among the teacher's vectors.

    This is how a student is used: its queries search the teacher's index. ``student`` and ``teacher`` are (rows, dim)
    of the same texts, and ``neighbours`` is the number of nearest texts; the text itself does not count. A single
    text has no neighbours, so its overlap is 1.
    """
    count = min(neighbours, len(teacher) - 1)
    if count < 1:
        return 1.0
    shared = 0
    index = unit_rows(teacher)
    for start in range(0, len(teacher), 1024):
        part = slice(start, start + 1024)
        by_teacher = _nearest(index[part] @ index.T, start, count)
        by_student = _nearest(unit_rows(student[part]) @ index.T, start, count)
        shared += sum(len(numpy.intersect1d(t, s)) for t, s in zip(by_teacher, by_student, strict=True))
    return shared / (count * len(teacher))


def spread(student: Float32, teacher: Float32) -> float:
    """Return the total variance of the student's unit vectors relative to the teacher's; 0 if all vectors are equal.

    ``student`` and ``teacher`` are (rows, dim).
    """
    of_student, of_teacher = (float(unit_rows(v).astype(numpy.float64).var(axis=0).sum()) for v in (student, teacher))
    return of_student / of_teacher if of_teacher > 0 else 1.0


def _nearest(scores: Float32, first: int, count: int) -> numpy.ndarray:
    """Return the ``count`` best columns of each row of ``scores``; row 0 is text ``first``, which does not count."""
    own = numpy.arange(len(scores))
    scores[own, first + own] = -numpy.inf
    return numpy.argpartition(-scores, count - 1, axis=1)[:, :count]
