"""How near the student is to its teacher on texts that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.training.batches import sample_rows
from leafkit.types import Float32
from leafkit.vectors.cosine import row_cosines, unit_rows

NEIGHBOURS = 10
# Neighbours take the square of the texts: 4,000 a fraction of a second, 60,000 two minutes and 2 GB.
MOST_NEIGHBOURED = 10_000


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Validation figures of one moment, over the held-out texts.

    ``cosine_mean`` and ``cosine_p5`` (the 5th percentile) are of student and teacher vector of the same text;
    ``overlap_at_10`` is the share of the teacher's ten nearest held-out texts that the student's vector finds
    among the teacher's vectors; ``spread`` is the student's variance relative to the teacher's; ``distance`` is
    the mean Euclidean distance. Of more than `MOST_NEIGHBOURED` texts, neighbours are sought among so many at random.
    """

    cosine_mean: float
    cosine_p5: float
    overlap_at_10: float
    spread: float
    distance: float


def measure(student: Float32, teacher: Float32) -> Figures:
    """All figures of (rows, dim) vectors of the same texts."""
    each = row_cosines(student, teacher)
    some = sample_rows(numpy.arange(len(teacher)), MOST_NEIGHBOURED, seed=0)
    return Figures(
        cosine_mean=float(each.mean()),
        cosine_p5=float(numpy.percentile(each, 5)),
        overlap_at_10=overlap(student[some], teacher[some], NEIGHBOURS),
        spread=spread(student, teacher),
        distance=float(numpy.linalg.norm(student - teacher, axis=1).mean()),
    )


def overlap(student: Float32, teacher: Float32, neighbours: int) -> float:
    """The share of each text's teacher neighbours that its student vector finds among the teacher's vectors.

    That is how a student works in use: its queries search the teacher's index. The text itself does not count.
    One text has no neighbours: its overlap is 1.
    """
    count = min(neighbours, len(teacher) - 1)
    if count < 1:
        return 1.0
    shared = 0
    index = unit_rows(teacher)
    for start in range(0, len(teacher), 1024):
        part = slice(start, start + 1024)
        wanted = _nearest(index[part] @ index.T, start, count)
        found = _nearest(unit_rows(student[part]) @ index.T, start, count)
        shared += sum(len(numpy.intersect1d(w, f)) for w, f in zip(wanted, found, strict=True))
    return shared / (count * len(teacher))


def spread(student: Float32, teacher: Float32) -> float:
    """Total variance of the student's unit vectors, relative to the teacher's: 0 if all texts get one vector."""
    of_student, of_teacher = (float(unit_rows(v).astype(numpy.float64).var(axis=0).sum()) for v in (student, teacher))
    return of_student / of_teacher if of_teacher > 0 else 1.0


def _nearest(scores: Float32, first: int, count: int) -> numpy.ndarray:
    own = numpy.arange(len(scores))
    scores[own, first + own] = -numpy.inf
    return numpy.argpartition(-scores, count - 1, axis=1)[:, :count]
