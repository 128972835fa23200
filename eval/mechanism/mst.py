"""MST-Distill: a router among specialised teachers, of which one half knows nothing about the texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from eval.mechanism.figures import overlap
from eval.mechanism.lab import BGE, Lab
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.objectives.mst import Mst

CLAIM = "A router picks for each text the teacher that helps, so that a useless teacher does no harm."
PREMISE = "Two teachers of different spaces on eight sources; the vectors of the second are shuffled among the texts."
CONTROL = "Random routing: the same specialised teachers, picked at random for each text, at the same gradient pull."
FIGURE = "overlap@10 on held-out texts"
ARMS = ("mst", "random routing", "straight", "soft", "mean of all", "first teacher alone", "leaf", "mst, whole second")

PULL = 0.3
TWO = "mst:others=second"


@dataclass(frozen=True, kw_only=True)
class RandomRouting(Mst):
    """MST whose teachers are picked at random."""

    def routed(self, teachers: Tensor, student: Tensor, gate: Tensor) -> Tensor:
        """Return the divergence of each text from a teacher drawn at random, (rows,)."""
        # Drawn from the student's own numbers, so that a repeated step draws the same.
        seed = int(student.detach().abs().sum() * 1e4) % 2**31
        picked = torch.from_numpy(numpy.random.default_rng(seed).integers(len(teachers), size=len(student)))
        return (one_hot(picked, len(teachers)) * kl_of_logits(teachers, student, self.temperature).T).sum(dim=-1)


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the overlap of LEAF with each routing."""
    train, held_out = lab.texts("mix", seed=seed, train=2000)
    second = lab.vectors(train, BGE)
    shuffled = second[numpy.random.default_rng([seed, 41]).permutation(len(second))]
    methods = {
        "mst": (TWO, shuffled),
        "random routing": (RandomRouting(others="second"), shuffled),
        "straight": (f"{TWO},routing=straight", shuffled),
        "soft": (f"{TWO},routing=soft", shuffled),
        "mean of all": (f"{TWO},chosen=4", shuffled),
        "first teacher alone": ("mst", shuffled),
        "leaf": (None, shuffled),
        "mst, whole second": (TWO, second),
    }
    figures = {}
    for arm, (method, vectors) in methods.items():
        specs, pulls = (["leaf", method], {"mst": PULL}) if method else (["leaf"], {})
        student = lab.train(specs, train, seed=seed, steps=300, pulls=pulls, others={"second": vectors})
        figures[arm] = overlap(student.encode(held_out), held_out.vectors)
    return figures
