"""Competence-based curriculum: short texts first, longer ones as the student comes along.

Paper: https://arxiv.org/abs/1903.09848

    c(t) = min(1, sqrt(t (1 - c_0^2) / T + c_0^2))

is the share of the texts, the shortest first, that step t draws from (the paper's square-root competence).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from leafkit.kd.setting import Pool, Setting
from leafkit.kd.system import Feed

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Curriculum(Feed):
    """Draws from the shortest texts only, and from ever longer ones until all take part.

    ``every``: steps between two widenings, 0 for off (paper: each step; fewer keep texts of like length together).
    ``initial``: c_0, the share of the texts that takes part at the start (paper: 0.01).
    ``until``: T as a share of all steps (paper: where a training without reaches 90 % of its final score).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1903.09848"
    off: ClassVar[Mapping[str, Any]] = {"every": 0}
    reconstruction: ClassVar[str] = (
        "lengths are counted in the student's tokens; LEAF in place of translation, without the paper's change of the "
        "learning rate; T is a share of the steps; between two widenings no text comes twice before all have come"
    )

    every: int = 20
    initial: float = 0.01
    until: float = 0.5

    def __post_init__(self) -> None:
        wanted = {
            "every": (self.every >= 0, "0 or more steps"),
            "initial": (0 < self.initial <= 1, "more than 0, at most 1"),
            "until": (0 < self.until <= 1, "more than 0, at most 1"),
        }
        self.require(wanted)

    def build(self, setting: Setting) -> nn.Module:
        """``place`` of each text among all by length, from 0 to below 1, (texts,); ``competence`` as it stands."""
        import torch

        place = numpy.empty(setting.texts)
        place[numpy.argsort(setting.lengths, kind="stable")] = numpy.arange(setting.texts) / setting.texts
        state = torch.nn.Module()
        state.register_buffer("place", torch.from_numpy(place))
        state.register_buffer("competence", torch.tensor(1.0, dtype=torch.float64))
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Let as many texts take part as the competence of ``step`` says, and never less than a batch."""
        if self.every:
            state.competence.fill_(max(self.competence(step, setting.steps), setting.batch_size / setting.texts))

    def competence(self, step: int, steps: int) -> float:
        """c(t) at ``step`` of ``steps``, 0 to 1."""
        begin = self.initial**2
        return min(1.0, (step * (1 - begin) / max(1.0, self.until * steps) + begin) ** 0.5)

    def feed(self, pool: Pool, state: Any) -> Pool:
        """The part of ``pool`` that is short enough, weighed as it was."""
        if float(state.competence) >= 1:
            return pool
        kept = (state.place < state.competence).cpu().numpy()[pool.rows]
        return Pool(rows=pool.rows[kept], weights=None if pool.weights is None else pool.weights[kept])
