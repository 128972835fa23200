"""The head's closed-form start: ridge regression from what the student sees to the teacher's vectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from leafkit.students.build import head_position
from leafkit.types import Float32

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MOST_TEXTS = 20_000
# Relative to the mean variance of a feature, so that the scale of the features does not matter.
PENALTIES = (1e-9, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)

Float64 = NDArray[numpy.float64]


@dataclass(frozen=True, kw_only=True)
class Linear:
    """``features @ weight.T + bias``; ``penalty`` is the one chosen, relative to the mean feature variance.

    ``cosine`` is what it gave on the held-out rows, not a number where there were none.
    """

    weight: Float32
    bias: Float32
    penalty: float
    cosine: float = float("nan")


def fit_head(features: Float32, targets: Float32, *, bias: bool = True, seed: int = 0) -> Linear:
    """The ridge solution from (rows, width) ``features`` to (rows, dim) ``targets``.

    The penalty is the one of the grid with the highest cosine on a held-out tenth; the solution is then fitted
    on all rows. Normal equations in float64. Without ``bias`` it is zero, and nothing is centred.
    """
    rows = numpy.random.default_rng(seed).permutation(len(features))
    tenth = len(rows) // 10
    held_out, kept = rows[:tenth], rows[tenth:]
    penalty, cosine = PENALTIES[len(PENALTIES) // 2], Linear.cosine
    if tenth:
        trial = _Normal(features[kept], targets[kept], centred=bias)
        cosines = {p: _cosine(trial.solve(p), features[held_out], targets[held_out]) for p in PENALTIES}
        penalty, cosine = max(cosines.items(), key=lambda found: found[1])
    return dataclasses.replace(_Normal(features, targets, centred=bias).solve(penalty), cosine=cosine)


def set_head(model: SentenceTransformer, head: Linear) -> None:
    """Put the solution into the student's Dense."""
    import torch

    linear: Any = model[head_position(model)].linear
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(head.weight))
        if linear.bias is not None:
            linear.bias.copy_(torch.from_numpy(head.bias))


class _Normal:
    """The normal equations of data, ``centred`` or as they are, decomposed once so that every penalty is cheap."""

    def __init__(self, features: Float32, targets: Float32, *, centred: bool) -> None:
        x, y = features.astype(numpy.float64), targets.astype(numpy.float64)
        self._x_mean, self._y_mean = (side.mean(axis=0) * centred for side in (x, y))
        x -= self._x_mean
        self._values, self._vectors = numpy.linalg.eigh(x.T @ x)
        self._right = self._vectors.T @ (x.T @ (y - self._y_mean))

    def solve(self, penalty: float) -> Linear:
        """The solution for a penalty relative to the mean eigenvalue; directions without data get weight 0."""
        scaled = self._values.clip(min=0) + penalty * max(self._values.mean(), numpy.finfo(float).tiny)
        weight = (self._vectors @ (self._right / scaled[:, None])).T
        bias = self._y_mean - weight @ self._x_mean
        return Linear(weight=weight.astype(numpy.float32), bias=bias.astype(numpy.float32), penalty=penalty)


def _cosine(head: Linear, features: Float32, targets: Float32) -> float:
    guess = features @ head.weight.T + head.bias
    lengths = numpy.linalg.norm(guess, axis=1) * numpy.linalg.norm(targets, axis=1)
    return float(((guess * targets).sum(axis=1) / numpy.maximum(lengths, 1e-12)).mean())
