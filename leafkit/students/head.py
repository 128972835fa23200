"""The closed-form start of a student's head: ridge regression from the body's output to the teacher's vectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from leafkit.types import Float32

if TYPE_CHECKING:
    from torch import nn

    from leafkit.students.student import Student

MOST_TEXTS = 20_000
# Relative to the mean variance of a feature, so that the scale of the features does not matter.
PENALTIES = (1e-9, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """The map ``features @ weight.T + bias``, with ``weight`` (dim, width) and ``bias`` (dim,).

    ``penalty`` is the ridge penalty that was chosen, relative to the mean feature variance. ``cosine`` is the mean
    cosine on the held-out rows, NaN if there were none.
    """

    weight: Float32
    bias: Float32
    penalty: float
    cosine: float = float("nan")

    def apply(self, features: Float32) -> Float32:
        """Map ``features`` (rows, width) to (rows, dim)."""
        return features @ self.weight.T + self.bias


def fit_head(features: Float32, targets: Float32, *, bias: bool = True, seed: int = 0) -> Linear:
    """Solve ridge regression from ``features`` (rows, width) to ``targets`` (rows, dim).

    The penalty is the one of `PENALTIES` with the highest mean cosine on a held-out tenth of the rows; the solution
    is then fitted on all rows. The normal equations are solved in float64. Without ``bias`` the bias is zero and
    nothing is centred.
    """
    rows = numpy.random.default_rng(seed).permutation(len(features))
    tenth = len(rows) // 10
    held_out, fitted = rows[:tenth], rows[tenth:]
    penalty, cosine = PENALTIES[len(PENALTIES) // 2], Linear.cosine
    if tenth:
        trial = _NormalEquations(features[fitted], targets[fitted], centred=bias)
        cosines = {p: _cosine(trial.solve(p), features[held_out], targets[held_out]) for p in PENALTIES}
        penalty, cosine = max(cosines.items(), key=lambda item: item[1])
    return dataclasses.replace(_NormalEquations(features, targets, centred=bias).solve(penalty), cosine=cosine)


def head_of(student: Student) -> Linear:
    """Return a copy of the head of ``student``; its bias is 0 if the head has none."""
    linear = student.linear
    bias = numpy.zeros(linear.out_features, dtype=numpy.float32)
    if linear.bias is not None:
        bias = linear.bias.detach().cpu().numpy().copy()
    return Linear(weight=linear.weight.detach().cpu().numpy().copy(), bias=bias, penalty=float("nan"))


def set_head(student: Student, head: Linear) -> None:
    """Copy ``head`` into the head of ``student``; a head without a bias gets none."""
    set_linear(student.linear, head)


def set_linear(linear: nn.Linear, head: Linear) -> None:
    """Copy ``head`` into ``linear``; a layer without a bias gets none."""
    import torch

    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(head.weight))
        if linear.bias is not None:
            linear.bias.copy_(torch.from_numpy(head.bias))


class _NormalEquations:
    """The normal equations of one data set, decomposed once so that every penalty is cheap to solve for."""

    def __init__(self, features: Float32, targets: Float32, *, centred: bool) -> None:
        x, y = features.astype(numpy.float64), targets.astype(numpy.float64)
        self._x_mean, self._y_mean = (side.mean(axis=0) * centred for side in (x, y))
        x -= self._x_mean
        self._values, self._vectors = numpy.linalg.eigh(x.T @ x)
        self._right = self._vectors.T @ (x.T @ (y - self._y_mean))

    def solve(self, penalty: float) -> Linear:
        """Solve for a ``penalty`` relative to the mean eigenvalue; directions without data get weight 0."""
        scaled = self._values.clip(min=0) + penalty * max(self._values.mean(), numpy.finfo(float).tiny)
        weight = (self._vectors @ (self._right / scaled[:, None])).T
        bias = self._y_mean - weight @ self._x_mean
        return Linear(weight=weight.astype(numpy.float32), bias=bias.astype(numpy.float32), penalty=penalty)


def _cosine(head: Linear, features: Float32, targets: Float32) -> float:
    """Return the mean cosine between the mapped ``features`` and ``targets``."""
    guess = head.apply(features)
    lengths = numpy.linalg.norm(guess, axis=1) * numpy.linalg.norm(targets, axis=1)
    return float(((guess * targets).sum(axis=1) / numpy.maximum(lengths, 1e-12)).mean())
