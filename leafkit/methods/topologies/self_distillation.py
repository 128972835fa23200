"""Self-distillation: each generation learns the teacher's vectors mixed with those of the previous generation.

Paper: https://arxiv.org/abs/2102.13088

    generation 0 learns the teacher's vectors Y; generation g learns alpha Y + (1 - alpha) Y_g-1
    Y_g are the vectors that generation g writes; every generation starts from the same student
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.method import Topology, Training
from leafkit.types import Float32
from leafkit.vectors.cosine import are_unit

# A mix of two vectors that is shorter than this has no reliable direction.
CANCELLED = 1e-3


@dataclass(frozen=True, kw_only=True)
class SelfDistillation(Topology):
    """Train students in turn; each after the first learns a mix of the teacher's and the previous student's vectors.

    Each generation is a complete training, so the fair comparison is LEAF with (generations + 1) times the epochs. The
    method mixes targets; for a squared distance, this equals the paper's weighted sum of two losses.

    ``generations``: number of students after the first; 0 disables the method (ours 2, for their cost; paper: 4, a
    chain of five networks).
    ``truth``: alpha, the share of the teacher's vectors in the targets, 0 to 1. At 1, each generation repeats the
    first; at 0, each learns from the previous generation only (ours 0.25, at which the paper's example converges;
    paper: an estimate or a grid search).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2102.13088"
    elicits: ClassVar[tuple[str, ...]] = ("self-knowledge",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"generations": 0}
    reconstruction: ClassVar[str] = (
        "the distance to the mixed vector is that of the objective, LEAF by default; if the teacher's vectors are unit "
        "vectors, the mix is rescaled to unit length; the share of the teacher is an option and not estimated, because "
        "the estimate needs texts that no generation was trained on"
    )
    small: ClassVar[Mapping[str, Any]] = {"generations": 1}

    generations: int = 2
    truth: float = 0.25

    def __post_init__(self) -> None:
        self.check_fields(
            {"generations": (self.generations >= 0, "0 or more"), "truth": (0 <= self.truth <= 1, "0 to 1")}
        )

    def run(self, training: Training) -> None:
        """Train the first student on the teacher's vectors, and each later student on the mix."""
        training.fit("first")
        if self.generations == 0:
            return
        setting = training.setting
        rows = numpy.arange(setting.texts)
        teacher = setting.targets(rows)
        unit = are_unit(teacher)
        previous = "first"
        for generation in range(1, self.generations + 1):
            targets = mix(teacher, training.student(previous, rows), self.truth)
            previous = f"generation-{generation}"
            training.fit(previous, targets=rescale(targets, teacher) if unit else targets)


def mix(teacher: NDArray[Any], previous: NDArray[Any], truth: float) -> NDArray[Any]:
    """Return the targets of a generation: ``truth`` x ``teacher`` + (1 - ``truth``) x ``previous``, all (rows, dim)."""
    return truth * teacher + (1 - truth) * previous


def rescale(vectors: Float32, teacher: Float32) -> Float32:
    """Return ``vectors`` with the norms of the ``teacher``'s vectors, row by row.

    A row that cancelled to nearly zero gets the teacher's vector.
    """
    length = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    expected = numpy.linalg.norm(teacher, axis=1, keepdims=True)
    cancelled = length < CANCELLED
    return numpy.where(cancelled, teacher, vectors * (expected / numpy.where(cancelled, 1, length)))
