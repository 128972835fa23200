"""Self-distillation: each generation of the student learns the teacher's vectors mixed with its predecessor's.

Paper: https://arxiv.org/abs/2102.13088

    generation 0 learns Y; generation g learns alpha Y + (1 - alpha) Y_g-1, always from the same start

For ridge regression on a kernel K with ridge lambda the rounds have a closed form, which the functions here give:

    A = K (K + lambda I)^-1              Y_g = A (alpha Y + (1 - alpha) Y_g-1), Y_-1 = Y
    b = eigenvalue / (eigenvalue + lambda)    B_0 = b, B_g = b ((1 - alpha) B_g-1 + alpha)
    limit: ridge with lambda / alpha     alpha* = 1 - <g - f, Y' - f> / |g - f|^2 on validation targets Y'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.method import Topology, Training
from leafkit.types import Float32

Float64 = NDArray[numpy.float64]

# Vectors kept as float16 are off unit length by less than this.
UNIT = 1e-3


@dataclass(frozen=True, kw_only=True)
class SelfDistillation(Topology):
    """Trains students one after the other; each after the first learns a mix of teacher and predecessor.

    Every generation is a whole training of as many steps, so that its equal is LEAF of generations + 1 times the
    epochs. The mix is of targets: for a squared distance that is the paper's weighted sum of two losses.

    ``generations``: students after the first, 0 for off (paper: 4, a chain of five networks; ours 2, for their cost).
    ``truth``: the share alpha of the teacher's vectors in the targets, 0 to 1; at 1 each generation repeats the first,
    at 0 each learns its predecessor alone (paper: by its estimate or a grid; ours 0.25, where its example settles).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2102.13088"
    off: ClassVar[Mapping[str, Any]] = {"generations": 0}
    reconstruction: ClassVar[str] = (
        "the objective, LEAF unless another is given, measures the distance to the mixed vector; where the teacher's "
        "vectors are unit vectors the mix is stretched back to their length; the share of the teacher is given and "
        "not estimated, since an estimate needs texts that no generation was trained on"
    )

    generations: int = 2
    truth: float = 0.25

    def __post_init__(self) -> None:
        self.check_fields(
            {"generations": (self.generations >= 0, "0 or more"), "truth": (0 <= self.truth <= 1, "0 to 1")}
        )

    def run(self, training: Training) -> None:
        """Train the first student on the teacher's vectors and each next one on the mix."""
        training.fit(0)
        if self.generations == 0:
            return
        setting = training.setting
        rows = numpy.arange(setting.texts)
        teacher = setting.targets(rows)
        unit = bool((numpy.abs(numpy.linalg.norm(teacher, axis=1) - 1) < UNIT).all())
        for generation in range(1, self.generations + 1):
            targets = mixed(teacher, training.student(rows), self.truth)
            training.fit(generation, stretched(targets, teacher) if unit else targets)


def mixed(teacher: NDArray[Any], previous: NDArray[Any], truth: float) -> NDArray[Any]:
    """What a generation learns: ``truth`` times ``teacher``, the rest ``previous``, all (rows, dim)."""
    return truth * teacher + (1 - truth) * previous


def stretched(vectors: Float32, teacher: Float32) -> Float32:
    """``vectors`` as long as the ``teacher``'s, row by row; the teacher's where opposites left nothing."""
    length = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = numpy.linalg.norm(teacher, axis=1, keepdims=True)
    gone = length < UNIT
    return numpy.where(gone, teacher, vectors * (wanted / numpy.where(gone, 1, length)))


def smoother(kernel: Float64, ridge: float) -> Float64:
    """A, (rows, rows): what turns targets into a ridge regression's predictions of the same rows."""
    return numpy.linalg.solve(kernel + ridge * numpy.eye(len(kernel)), kernel)


def iterated_ridge(kernel: Float64, targets: Float64, ridge: float, truth: float, generations: int) -> Float64:
    """Coefficients (rows, dim) of the last of ``generations`` ridge regressions after the first.

    Predictions are the kernel of any points with the training rows, (points, rows), times the coefficients.
    """
    regular = kernel + ridge * numpy.eye(len(kernel))
    coefficients = numpy.linalg.solve(regular, targets)
    for _ in range(generations):
        coefficients = numpy.linalg.solve(regular, mixed(targets, kernel @ coefficients, truth))
    return coefficients


def limit_ridge(kernel: Float64, targets: Float64, ridge: float, truth: float) -> Float64:
    """The coefficients to which `iterated_ridge` tends: one regression with ``ridge / truth``, nothing at truth 0."""
    if truth == 0:
        return numpy.zeros_like(targets)
    return numpy.linalg.solve(kernel + ridge / truth * numpy.eye(len(kernel)), targets)


def shrinkage(eigenvalues: Float64, ridge: float, truth: float, generations: int) -> Float64:
    """B, (rows,): the share of the targets along each eigenvector of the kernel that the predictions keep."""
    once = eigenvalues / (eigenvalues + ridge)
    kept = once
    for _ in range(generations):
        kept = once * mixed(numpy.ones_like(once), kept, truth)
    return kept


def best_truth(first: Float64, again: Float64, wanted: Float64) -> float:
    """The truth alpha* whose ridge regression is nearest to ``wanted``, all (points, dim) of validation points.

    ``first`` predicts them after learning the targets alone, ``again`` after learning the previous generation alone.
    Points that were trained on make it meaningless. Values beyond 0 and 1 are minimisers too; 1 if the two are equal.
    """
    step = again - first
    size = float((step * step).sum())
    return 1 - float((step * (wanted - first)).sum()) / size if size > 0 else 1.0
