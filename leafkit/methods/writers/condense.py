"""Condensed texts: choose a share of the texts whose teacher vectors represent those of all texts.

Paper: https://arxiv.org/abs/2504.14772

    distribution matching: |mean of all texts - mean of the chosen texts|^2
    herding: each choice minimises that distance; k-center: each choice is the text farthest from all chosen texts
    gradient matching: for a linear student W of the teacher's own vectors t, the gradient of the squared LEAF loss is
        sum (W t - t) t^T. At W = 0 the gradient of a text is - t t^T, and the product of two texts' gradients is
        (t . t')^2. Orthogonal matching pursuit chooses the text whose gradient agrees most with the residual: the mean
        gradient minus its best approximation by the chosen texts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy
from numpy.typing import NDArray

from leafkit.methods.feeds.pcoreset import farthest_first
from leafkit.methods.method import Writer
from leafkit.methods.setting import Facts
from leafkit.types import Int64

if TYPE_CHECKING:
    from leafkit.methods.ask import Ask
    from leafkit.texts.table import TextTable
    from leafkit.types import Float32

Floats = NDArray[Any]
Mode = Literal["herding", "kcenter", "omp", "random"]

# Added to each text's agreement with itself, so that duplicate texts do not make the system singular.
RIDGE = 1e-6

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Condense(Writer):
    """Train on a chosen share of the texts, in their original order.

    The teacher still encodes every text, because the choice uses the vectors (but for ``random``). The saving is in the
    training of the student. A choice costs chosen x texts x width operations. ``omp`` adds chosen^4 operations, so use
    it for a few thousand texts at most.

    ``mode``: ``herding`` (match the mean), ``kcenter`` (no text is far from a chosen one), ``omp`` (match the
    gradient), or ``random``, the baseline (ours herding).
    ``share``: share of the texts that is chosen, more than 0 and at most 1; 1 disables the method (ours 0.25).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2504.14772"
    elicits: ClassVar[tuple[str, ...]] = ("curation",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"share": 1.0}
    reconstruction: ClassVar[str] = (
        "the survey names families of methods, and these modes are their simplest members: they select real texts, "
        "without learned soft inputs, generated candidates or trajectory matching; gradients are those of the last "
        "layer of a linear student before its first step, and the weights that the pursuit gives to texts are not used"
    )
    small: ClassVar[Mapping[str, Any]] = {"share": 0.5}

    mode: Mode = "herding"
    share: float = 0.25

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "mode": (self.mode in get_args(Mode), ", ".join(get_args(Mode))),
                "share": (0 < self.share <= 1, "more than 0 and at most 1"),
            }
        )

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the share of the texts is less than one text."""
        enough = round(self.share * facts.texts) >= 1
        self.check_fields({"share": (enough, f"a share of {facts.texts} texts that is 1 text or more")})

    def write(self, texts: TextTable, ask: Ask, seed: int) -> TextTable:
        """Return the chosen texts in their original order, with the read counts of ``texts``."""
        if self.share == 1:
            return texts
        count = round(self.share * len(texts))
        if self.mode == "random":
            rows = drawn(len(texts), seed)[:count]
            logger.info("condense: chose %d of %d texts at random", count, len(texts))
        else:
            vectors = ask.encode(texts.texts, texts.roles)
            rows = choose(vectors, count, self.mode, seed)
            distance = matching_loss(vectors, vectors[rows]) ** 0.5
            logger.info("condense: chose %d of %d texts; distance between the means: %.4f", count, len(texts), distance)
        rows = numpy.sort(rows)
        chosen = texts.choose(rows.tolist())
        chosen.counts, chosen.repeated = texts.counts, texts.repeated
        return chosen


def choose(vectors: Float32, count: int, mode: Mode, seed: int) -> Int64:
    """Return ``count`` rows of ``vectors`` (texts, dim) chosen by ``mode``, in the order of choice."""
    order = drawn(len(vectors), seed)
    if mode == "kcenter":
        return k_centers(vectors, count, int(order[0]))
    if mode == "random":
        return order[:count]
    return (herding if mode == "herding" else pursuit)(vectors, count)


def drawn(texts: int, seed: int) -> Int64:
    """Return the rows of ``texts`` texts in an order drawn from ``seed``."""
    return numpy.random.default_rng([seed, 19]).permutation(texts)


def herding(vectors: Floats, count: int) -> Int64:
    """Return ``count`` rows; each choice brings the mean of the chosen vectors nearest to the mean of all."""
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


def k_centers(vectors: Floats, count: int, start: int) -> Int64:
    """Return ``start`` and ``count`` - 1 further rows, each the farthest from all rows before it."""
    import torch

    points = torch.from_numpy(vectors)
    others = numpy.delete(numpy.arange(len(vectors)), start)
    found = farthest_first(points[torch.from_numpy(others)], points[start : start + 1], count - 1)
    return numpy.concatenate([[start], others[found.numpy()]])


def pursuit(vectors: Floats, count: int) -> Int64:
    """Return ``count`` rows chosen by orthogonal matching pursuit on the gradients; see the module docstring."""
    wide = vectors.astype(numpy.float64)
    # The product of each text's gradient with the mean gradient.
    target = numpy.einsum("rd,de,re->r", wide, wide.T @ wide / len(wide), wide, optimize=True)
    agreements, residual = numpy.empty((len(wide), count)), target.copy()
    taken: list[int] = []
    for place in range(count):
        residual[taken] = -numpy.inf
        taken.append(int(residual.argmax()))
        agreements[:, place] = (wide @ wide[taken[-1]]) ** 2
        known = agreements[:, : place + 1]
        weights = numpy.linalg.solve(known[taken] + RIDGE * numpy.eye(place + 1), target[taken])
        residual = target - known @ weights
    return numpy.array(taken, dtype=numpy.int64)


def matching_loss(everything: Floats, chosen: Floats) -> float:
    """Return the squared distance between the means of two sets of vectors, (texts, dim) each."""
    means = [vectors.mean(axis=0, dtype=numpy.float64) for vectors in (everything, chosen)]
    return float(numpy.square(means[0] - means[1]).sum())
