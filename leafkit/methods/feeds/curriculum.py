"""Competence-based curriculum: train on short texts first and add longer ones step by step.

Paper: https://arxiv.org/abs/1903.09848

    c(t) = min(1, sqrt(t (1 - c_0^2) / T + c_0^2))

is the share of the texts, counted from the shortest, that step t draws from (the paper's square-root competence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from leafkit.methods.method import Feed
from leafkit.methods.setting import Pool, Setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Curriculum(Feed):
    """Draw from the shortest texts at the start, and add longer texts step by step until all take part.

    ``every``: number of steps between two extensions of the texts; 0 disables the curriculum (paper: each step; a
    larger number keeps texts of similar length together).
    ``initial``: c_0, the share of the texts that takes part at the start (paper: 0.01).
    ``until``: T as a share of all steps (paper: the step at which a plain training reaches about 90 % of its final
    BLEU).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1903.09848"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"every": 0}
    reconstruction: ClassVar[str] = (
        "lengths are in tokens of the student, prompts included; LEAF replaces translation; T is a share of the steps "
        "of each generation; between two extensions no text repeats before all have been drawn. As in the paper, short "
        "texts repeat often: one epoch of 6,000 texts sees two thirds of them"
    )
    small: ClassVar[Mapping[str, Any]] = {"every": 5}

    every: int = 20
    initial: float = 0.01
    until: float = 0.5

    def __post_init__(self) -> None:
        checks = {
            "every": (self.every >= 0, "0 or more steps"),
            "initial": (0 < self.initial <= 1, "more than 0 and at most 1"),
            "until": (0 < self.until <= 1, "more than 0 and at most 1"),
        }
        self.check_fields(checks)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``place`` of each text by length, (texts,), the current ``competence`` and the ``batch`` size."""
        import torch

        # Ties are broken at random. The order of the files would be a curriculum of sources.
        order = numpy.random.default_rng([setting.seed, 17]).permutation(setting.texts)
        place = numpy.empty(setting.texts, dtype=numpy.int64)
        place[order[numpy.argsort(setting.lengths[order], kind="stable")]] = numpy.arange(setting.texts)
        state = torch.nn.Module()
        state.register_buffer("place", torch.from_numpy(place))
        state.register_buffer("competence", torch.tensor(1.0, dtype=torch.float64))
        state.register_buffer("batch", torch.tensor(setting.batch_size))
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Store the competence at ``step``."""
        if self.every:
            state.competence.fill_(self.competence(step, setting.steps))

    def competence(self, step: int, steps: int) -> float:
        """Return c(t) at ``step`` of ``steps``, 0 to 1."""
        begin = self.initial**2
        return min(1.0, (step * (1 - begin) / max(1.0, self.until * steps) + begin) ** 0.5)

    def feed(self, pool: Pool, state: Any) -> Pool:
        """Return the share of the shortest rows given by the competence, at least one batch; keep their weights."""
        most = max(int(state.batch), math.ceil(float(state.competence) * len(pool.rows)))
        if most >= len(pool.rows):
            return pool
        place = state.place.cpu().numpy()[pool.rows]
        chosen = place <= numpy.partition(place, most - 1)[most - 1]
        return Pool(rows=pool.rows[chosen], weights=None if pool.weights is None else pool.weights[chosen])
