"""Fidelity: measure how much of the teacher a student keeps, in vectors, neighbours and geometry.

Paper: https://arxiv.org/abs/2505.15442

    overlap@k, rank-biased overlap (1 - p) sum_d p^(d-1) |A_d & B_d| / d, Kendall's tau over shared candidates,
    linear CKA |S'T|_F^2 / (|S'S|_F |T'T|_F) of centred vectors, RSA = Spearman of the two similarity matrices
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.method import Probe
from leafkit.types import Int64
from leafkit.vectors.cosine import unit_rows

if TYPE_CHECKING:
    from leafkit.methods.look import Look

Float64 = NDArray[numpy.float64]


@dataclass(frozen=True, kw_only=True)
class Fidelity(Probe):
    """Compare the student's and the teacher's vectors of held-out texts: cosines, neighbour lists and geometry.

    Neighbours are searched within each space separately. A rotated student therefore has the same neighbours as the
    teacher, but cosines below 1.

    ``every``: number of validations from one report to the next; 0 disables the probe.
    ``texts``: largest number of held-out texts, taken from the start; the cost grows with the square (ours 1000).
    ``neighbours``: k of overlap@k, and the depth of the ranked lists (ours 10).
    ``persistence``: p of the rank-biased overlap, more than 0 and less than 1 (0.9, the usual value; ten ranks then
    hold most of the weight).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2505.15442"
    reconstruction: ClassVar[str] = (
        "the paper compares answers and rationales of language models; for vectors, neighbours and similarities are "
        "compared instead. Left out: queries of the student against documents of the teacher, and sweeps of noise and "
        "temperature"
    )
    small: ClassVar[Mapping[str, Any]] = {"every": 5}

    texts: int = 1000
    neighbours: int = 10
    persistence: float = 0.9

    def __post_init__(self) -> None:
        least = {"every": 0, "texts": 3, "neighbours": 1}
        checks = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        self.check_fields(checks | {"persistence": (0 < self.persistence < 1, "more than 0 and less than 1")})

    def observe(self, look: Look) -> dict[str, Any]:
        """Return the figures of the held-out vectors."""
        student, teacher = look.student, look.teacher
        ours, theirs = (unit_rows(vectors[: self.texts].astype(numpy.float64)) for vectors in (student, teacher))
        cosines = (ours * theirs).sum(axis=1)
        found, expected = (_neighbours(vectors, self.neighbours) for vectors in (ours, theirs))
        return {
            "cosine_mean": float(cosines.mean()),
            "cosine_p5": float(numpy.percentile(cosines, 5)),
            "proxy": float(((student - teacher) ** 2).sum(axis=1).mean()),
            "overlap": overlap(found, expected),
            "rank_biased_overlap": rank_biased_overlap(found, expected, self.persistence),
            "kendall_tau": kendall_tau(ours, theirs),
            "cka": linear_cka(ours, theirs),
            "rsa": similarity_correlation(ours, theirs),
        }


def overlap(found: Int64, expected: Int64) -> float:
    """Return the mean share of the ``expected`` neighbours that are ``found``, both lists of shape (rows, k)."""
    shared = [len(numpy.intersect1d(ours, theirs)) for ours, theirs in zip(found, expected, strict=True)]
    return float(numpy.mean(shared) / expected.shape[1])


def rank_biased_overlap(found: Int64, expected: Int64, persistence: float) -> float:
    """Return the mean rank-biased overlap of ranked lists (rows, k), rescaled to 1 for equal lists."""
    depths = numpy.arange(1, expected.shape[1] + 1)
    weights = persistence ** (depths - 1)
    agreed = [[overlap(found[:, :depth], expected[:, :depth])] for depth in depths]
    return float((weights * numpy.ravel(agreed)).sum() / weights.sum())


def kendall_tau(ours: Float64, theirs: Float64, candidates: int = 50) -> float:
    """Return the mean Kendall tau between two rankings of the first ``candidates`` texts, one ranking from each space.

    Each of these texts ranks the others by cosine. ``ours`` and ``theirs`` are unit vectors, (rows, dim).
    """
    from scipy.stats import kendalltau

    ours, theirs = ours[:candidates], theirs[:candidates]
    taus = []
    for row in range(len(ours)):
        # scipy's result is a named tuple whose fields its stubs do not declare.
        result: Any = kendalltau(numpy.delete(ours @ ours[row], row), numpy.delete(theirs @ theirs[row], row))
        taus.append(result.statistic)
    return _finite(numpy.mean(taus))


def linear_cka(ours: Float64, theirs: Float64) -> float:
    """Return the linear centred kernel alignment of (rows, any width) vectors; 1 for a rotated or scaled copy."""
    ours, theirs = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
    norms = numpy.linalg.norm(ours.T @ ours) * numpy.linalg.norm(theirs.T @ theirs)
    return float(numpy.linalg.norm(ours.T @ theirs) ** 2 / norms) if norms > 0 else 0.0


def similarity_correlation(ours: Float64, theirs: Float64) -> float:
    """Return Spearman's correlation of the two similarity matrices above their diagonals; rows are unit vectors."""
    from scipy.stats import spearmanr

    above = numpy.triu_indices(len(ours), k=1)
    result: Any = spearmanr((ours @ ours.T)[above], (theirs @ theirs.T)[above])
    return _finite(result.statistic)


def _finite(correlation: Any) -> float:
    """Return ``correlation``, or 0 if one side does not vary: the history is stored as JSON, which has no NaN."""
    return float(correlation) if numpy.isfinite(correlation) else 0.0


def _neighbours(vectors: Float64, most: int) -> Int64:
    """Return the nearest ``most`` other rows of each row by dot product, nearest first."""
    scores = vectors @ vectors.T
    numpy.fill_diagonal(scores, -numpy.inf)
    return numpy.argsort(-scores, axis=1, kind="stable")[:, : min(most, len(vectors) - 1)]
