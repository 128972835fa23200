"""Fidelity: how much of the teacher a student keeps, point by point, in neighbours and in geometry.

Paper: https://arxiv.org/abs/2505.15442

    overlap@k, rank-biased overlap (1 - p) sum_d p^(d-1) |A_d & B_d| / d, Kendall's tau over shared candidates,
    linear CKA |S'T|_F^2 / (|S'S|_F |T'T|_F) of centred vectors, RSA = Spearman of the two similarity matrices
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.method import Probe
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_rows

Float64 = NDArray[numpy.float64]


@dataclass(frozen=True, kw_only=True)
class Fidelity(Probe):
    """Reports cosines, neighbour lists and geometry of the student's held-out vectors beside the teacher's.

    Neighbours are taken inside each space, so that a rotated student has all of them and a cosine below 1.

    ``every``: validations from one report to the next, 0 for off.
    ``texts``: most held-out texts that are looked at, the first ones: similarities are square in it (ours 1000).
    ``neighbours``: k of overlap@k and the depth of the ranked lists (ours 10).
    ``persistence``: p of the rank-biased overlap, 0 to 1 (0.9, as is usual: ten ranks hold most of it).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2505.15442"
    reconstruction: ClassVar[str] = (
        "the paper compares answers and rationales of language models; vectors have neighbours and similarities "
        "instead. Left out: the student's queries against the teacher's documents, and sweeps of noise and temperature"
    )

    texts: int = 1000
    neighbours: int = 10
    persistence: float = 0.9

    def __post_init__(self) -> None:
        least = {"every": 0, "texts": 3, "neighbours": 1}
        wanted = {name: (getattr(self, name) >= bound, f"{bound} or more") for name, bound in least.items()}
        self.check_fields(wanted | {"persistence": (0 < self.persistence < 1, "more than 0, less than 1")})

    def observe(self, student: Float32, teacher: Float32, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The report of held-out vectors, (rows, dim)."""
        ours, theirs = (unit_rows(vectors[: self.texts].astype(numpy.float64)) for vectors in (student, teacher))
        cosines = (ours * theirs).sum(axis=1)
        near, wanted = (_ranked(vectors, self.neighbours) for vectors in (ours, theirs))
        return {
            "cosine_mean": float(cosines.mean()),
            "cosine_p5": float(numpy.percentile(cosines, 5)),
            "proxy": float(((student - teacher) ** 2).sum(axis=1).mean()),
            "overlap": overlap(near, wanted),
            "rank_biased_overlap": rank_biased_overlap(near, wanted, self.persistence),
            "kendall_tau": kendall_tau(ours, theirs),
            "cka": linear_cka(ours, theirs),
            "rsa": similarity_correlation(ours, theirs),
        }


def overlap(near: NDArray[numpy.int64], wanted: NDArray[numpy.int64]) -> float:
    """The mean share of the neighbours ``wanted`` that are ``near``, lists of (rows, k)."""
    shared = [len(numpy.intersect1d(ours, theirs)) for ours, theirs in zip(near, wanted, strict=True)]
    return float(numpy.mean(shared) / wanted.shape[1])


def rank_biased_overlap(near: NDArray[numpy.int64], wanted: NDArray[numpy.int64], persistence: float) -> float:
    """The mean rank-biased overlap of ranked lists (rows, k), stretched so that equal lists have 1."""
    depths = numpy.arange(1, wanted.shape[1] + 1)
    weights = persistence ** (depths - 1)
    agreed = [[overlap(near[:, :depth], wanted[:, :depth])] for depth in depths]
    return float((weights * numpy.ravel(agreed)).sum() / weights.sum())


def kendall_tau(ours: Float64, theirs: Float64, candidates: int = 50) -> float:
    """The mean Kendall tau of two spaces' rankings of the first ``candidates`` texts, by each text; rows are units."""
    from scipy.stats import kendalltau

    few = slice(0, min(candidates, len(ours)))
    found = [
        kendalltau(numpy.delete(ours[few] @ ours[row], row), numpy.delete(theirs[few] @ theirs[row], row)).statistic
        for row in range(len(ours[few]))
    ]
    return _defined(numpy.mean(found))


def linear_cka(ours: Float64, theirs: Float64) -> float:
    """Linear centred kernel alignment of (rows, any width) vectors: 1 for a rotation or a scaling of each other."""
    ours, theirs = ours - ours.mean(axis=0), theirs - theirs.mean(axis=0)
    norms = numpy.linalg.norm(ours.T @ ours) * numpy.linalg.norm(theirs.T @ theirs)
    return float(numpy.linalg.norm(ours.T @ theirs) ** 2 / norms) if norms > 0 else 0.0


def similarity_correlation(ours: Float64, theirs: Float64) -> float:
    """Spearman's correlation of the two matrices of similarities, above their diagonals; rows are units."""
    from scipy.stats import spearmanr

    above = numpy.triu_indices(len(ours), k=1)
    return _defined(spearmanr((ours @ ours.T)[above], (theirs @ theirs.T)[above]).statistic)


def agreement(ours: NDArray[Any], theirs: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Shares of items, (items,), on which student and teacher decide alike, are right, and the table of both.

    ``both``, ``teacher_alone``, ``student_alone`` and ``neither`` say who is right and add up to 1.
    """
    right, taught = ours == truth, theirs == truth
    return {
        "agreement": float((ours == theirs).mean()),
        "student": float(right.mean()),
        "teacher": float(taught.mean()),
        "both": float((right & taught).mean()),
        "teacher_alone": float((~right & taught).mean()),
        "student_alone": float((right & ~taught).mean()),
        "neither": float((~right & ~taught).mean()),
    }


def noisy(vectors: Float64, sigma: float, seed: int) -> Float64:
    """``vectors`` (rows, dim) with Gaussian noise whose expected length is ``sigma`` times their mean length."""
    length = float(numpy.linalg.norm(vectors, axis=1).mean())
    noise = numpy.random.default_rng(seed).standard_normal(vectors.shape) / numpy.sqrt(vectors.shape[1])
    return vectors + sigma * length * noise


def _defined(correlation: Any) -> float:
    """``correlation``, or 0 where one side does not vary: NaN is no JSON, and the history is kept as JSON."""
    return float(correlation) if numpy.isfinite(correlation) else 0.0


def _ranked(vectors: Float64, most: int) -> NDArray[numpy.int64]:
    scores = vectors @ vectors.T
    numpy.fill_diagonal(scores, -numpy.inf)
    return numpy.argsort(-scores, axis=1, kind="stable")[:, : min(most, len(vectors) - 1)]
