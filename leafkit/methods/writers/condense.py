"""Condensed texts: a part of the texts whose teacher vectors stand for those of all.

Paper: https://arxiv.org/abs/2504.14772

    distribution matching: |mean of all - mean of the kept|^2
    herding: each next text brings that nearest to zero; k-center: each next text is the one farthest from all kept
    gradient matching: the gradient of LEAF in a linear student W of the teacher's own vectors t is sum (W t - t) t^T;
        at W = 0 a text's is - t t^T, two texts' agree by (t . t')^2, and orthogonal matching pursuit takes each time
        the text that agrees most with what the best weights of the kept leave of the mean gradient
    exact, for a linear student: X = Q R, X_s = R, Y_s = Q^T Y, so that X_s^T X_s = X^T X and X_s^T Y_s = X^T Y
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, VectorError
from leafkit.methods.feeds.pcoreset import farthest_first
from leafkit.methods.method import Writer
from leafkit.types import Int64

if TYPE_CHECKING:
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32

Floats = NDArray[Any]
Mode = Literal["herding", "kcenter", "omp", "random"]

# Added to a text's agreement with itself, so that a text that comes twice has weights at all.
RIDGE = 1e-6

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Condense(Writer):
    """Keeps the part of the texts that stands best for all of them, by teacher vectors; the order stays.

    The teacher encodes every text all the same: what is saved is training, of any student. A choice costs kept times
    texts times width; ``omp`` also kept to the fourth power, so that it is for some thousands of texts.

    ``mode``: ``herding`` (same mean), ``kcenter`` (no text far from a kept one), ``omp`` (same gradient), or
    ``random``, which the others have to beat (ours herding).
    ``share``: part of the texts that is kept, more than 0 to 1; 1 for off (ours 0.25).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2504.14772"
    off: ClassVar[Mapping[str, Any]] = {"share": 1.0}
    reconstruction: ClassVar[str] = (
        "the survey names families, and these are their plainest members: selection of real texts alone, without "
        "learned soft inputs, generated candidates or trajectory matching; gradients are those of a linear student "
        "before its first step, in the last layer, and the weights that a pursuit gives its texts are not used"
    )

    mode: Mode = "herding"
    share: float = 0.25

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "mode": (self.mode in get_args(Mode), ", ".join(get_args(Mode))),
                "share": (0 < self.share <= 1, "more than 0, at most 1"),
            }
        )

    def write(self, texts: TextTable, vectors: Float32, seed: int) -> TextTable:
        """The kept texts in the order they came, with the counts of what was read; ``texts`` itself if all are."""
        if self.share == 1:
            return texts
        count = round(self.share * len(texts))
        if count < 1:
            raise OptionError(f"condense:share is {self.share} of {len(texts)} texts; wanted one text or more")
        rows = numpy.sort(choose(vectors, count, self.mode, seed))
        away = matching_loss(vectors, vectors[rows]) ** 0.5
        logger.info("condense: %d of %d texts are kept; their mean is %.4f away", count, len(texts), away)
        kept = texts.choose(rows.tolist())
        kept.counts, kept.repeated = texts.counts, texts.repeated
        return kept


def choose(vectors: Float32, count: int, mode: Mode, seed: int) -> Int64:
    """Rows of ``count`` of the ``vectors`` (texts, dim), the first chosen first."""
    order = numpy.random.default_rng([seed, 19]).permutation(len(vectors))
    if mode == "kcenter":
        return centers(vectors, count, int(order[0]))
    if mode == "random":
        return order[:count]
    return (herding if mode == "herding" else pursuit)(vectors, count)


def herding(vectors: Floats, count: int) -> Int64:
    """Rows of ``count`` of the ``vectors``, each with which the mean of those so far comes nearest to that of all."""
    mean = vectors.mean(axis=0, dtype=numpy.float64)
    lengths = numpy.einsum("rd,rd->r", vectors, vectors) / 2
    missing, taken = numpy.zeros_like(mean), []
    for _ in range(count):
        missing += mean
        # |missing - vector|^2 is least where this is largest.
        gains = vectors @ missing.astype(vectors.dtype) - lengths
        gains[taken] = -numpy.inf
        taken.append(int(gains.argmax()))
        missing -= vectors[taken[-1]]
    return numpy.array(taken, dtype=numpy.int64)


def centers(vectors: Floats, count: int, start: int) -> Int64:
    """Rows of ``start`` and ``count`` - 1 further ``vectors``, each the farthest from all before it."""
    import torch

    points = torch.from_numpy(vectors)
    others = numpy.delete(numpy.arange(len(vectors)), start)
    found = farthest_first(points[torch.from_numpy(others)], points[start : start + 1], count - 1)
    return numpy.concatenate([[start], others[found.numpy()]])


def pursuit(vectors: Floats, count: int) -> Int64:
    """Rows of ``count`` of the ``vectors``, each the gradient nearest to what those before it leave of the mean's."""
    wide = vectors.astype(numpy.float64)
    wanted = numpy.einsum("rd,de,re->r", wide, wide.T @ wide / len(wide), wide, optimize=True)
    agreements, taken, left = numpy.empty((len(wide), count)), [], wanted.copy()
    for place in range(count):
        left[taken] = -numpy.inf
        taken.append(int(left.argmax()))
        agreements[:, place] = (wide @ wide[taken[-1]]) ** 2
        known = agreements[:, : place + 1]
        weights = numpy.linalg.solve(known[taken] + RIDGE * numpy.eye(place + 1), wanted[taken])
        left = wanted - known @ weights
    return numpy.array(taken, dtype=numpy.int64)


def matching_loss(everything: Floats, kept: Floats) -> float:
    """The squared distance between the means of two sets of vectors, (texts, dim) each."""
    means = [vectors.mean(axis=0, dtype=numpy.float64) for vectors in (everything, kept)]
    return float(numpy.square(means[0] - means[1]).sum())


def exact(features: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """At most dim rows of features and targets with every ridge solution and gradient of ``features`` (rows, dim).

    Where these have full rank it is the transposed Cholesky factor of X^T X; without it there is still an answer.
    """
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets) or not len(features):
        raise VectorError(f"got features {features.shape} and targets {targets.shape}; wanted as many rows of each")
    basis, triangle = numpy.linalg.qr(features)
    signs = numpy.where(triangle.diagonal() < 0, -1.0, 1.0).astype(triangle.dtype)
    return signs[:, None] * triangle, signs[:, None] * (basis.T @ targets)
