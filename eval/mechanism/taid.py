"""TAID: a target that moves from the student to the teacher, for a student that is far from its teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.mechanism.figures import overlap
from eval.mechanism.lab import Lab
from leafkit.methods.objectives.taid import Taid

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch

CLAIM = "A student learns more from a distribution that moves from its own to the teacher's than from the teacher's."
PREMISE = (
    "A large gap: the student has 12 hidden units and learns the distributions over 64 anchors alone, for 2,000 steps, "
    "from a random head."
)
CONTROL = "Plain KL divergence from the teacher: the same loss with t = 1 from the first step."
FIGURE = "overlap@10 on held-out texts"
ARMS = ("taid", "kl", "ramp only", "t = 0.4", "leaf + taid", "leaf + kl")

KL = "taid:start=1,adaptive=false,weight=1"


@dataclass(frozen=True, kw_only=True)
class Fixed(Taid):
    """TAID whose share of the teacher stays at ``start``."""

    def after_step(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Leave the share as it is."""


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the overlap of each arm; the last two arms add LEAF at equal pulls."""
    train, held_out = lab.texts("banking77", seed=seed)
    alone = {
        "taid": "taid:weight=1",
        "kl": KL,
        "ramp only": "taid:weight=1,adaptive=false",
        "t = 0.4": Fixed(weight=1.0),
    }
    figures = {}
    for arm, method in alone.items():
        student = lab.train([method], train, seed=seed, steps=2000, width=12, ridge=False)
        figures[arm] = overlap(student.encode(held_out), held_out.vectors)
    # TAID pulls less at its start than later, so its mean pull over the training sets that of KL.
    taid = lab.train(["leaf", "taid"], train, seed=seed, width=12, pulls={"taid": 0.3})
    kl = lab.train(["leaf", KL], train, seed=seed, width=12, pulls={"taid": taid.pulls["taid"]})
    figures["leaf + taid"] = overlap(taid.encode(held_out), held_out.vectors)
    figures["leaf + kl"] = overlap(kl.encode(held_out), held_out.vectors)
    return figures
