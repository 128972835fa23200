"""PCoreSet: spend a budget of teacher calls on texts whose predictions are far from those of all earlier texts.

Paper: https://arxiv.org/abs/2506.00910

    p(x) = softmax(logits of the student for x)
    next = argmax over unlabelled x of min over labelled y of ||p(x) - p(y)||, labelled = encoded by the teacher
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy

from leafkit.methods.budgeted import BudgetedFeed

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.setting import Setting
    from leafkit.types import Int64

Space = Literal["prob", "feature", "random"]


@dataclass(frozen=True, kw_only=True)
class Pcoreset(BudgetedFeed):
    """Train on a growing set of texts within a budget of teacher calls; each pick is the text farthest from the set.

    The method uses the teacher's vectors of the picked texts only, and a ridge start those of the first texts.

    ``every``: number of steps between two rounds of picks; 0 keeps the first texts only (paper: 15 rounds).
    ``first``: number of texts drawn at random before step 0, at most the budget (paper: one text of each class).
    ``picks``: number of texts added in each round (paper: one text of each class).
    ``space``: where distances are measured: ``prob`` between predictions (paper), ``feature`` between unit vectors, or
    ``random`` for random picks.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.00910"
    elicits: ClassVar[tuple[str, ...]] = ("curation", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "teacher calls are scarce, not labels; anchors fitted to the first texts replace classes; one student is "
        "trained with LEAF through all rounds, without the paper's two heads and without unlabelled texts; no outliers "
        "are dropped"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "every": 5, "first": 40, "picks": 20, "share": 0.5}

    space: Space = "prob"

    def __post_init__(self) -> None:
        super().__post_init__()
        spaces = get_args(Space)
        self.check_fields({"space": (self.space in spaces, ", ".join(spaces))})

    def prepare(self, state: Any, first: Setting) -> None:
        """Add the ``anchors`` for ``space=prob``; the other spaces ask the teacher about no text."""
        if self.space == "prob":
            super().prepare(state, first)

    def choose(self, state: Any, setting: Setting, candidates: Int64, most: int, step: int) -> Int64:
        """Return the candidates that are farthest from the selected texts and from each other."""
        if self.space == "random":
            return candidates[:most]
        selected = self._points(state, setting, numpy.flatnonzero(state.selected.cpu().numpy()))
        return candidates[farthest_first(self._points(state, setting, candidates), selected, most).numpy()]

    def _points(self, state: Any, setting: Setting, rows: Int64) -> Tensor:
        """Return the student's predictions or unit vectors of ``rows``, between which distances are measured."""
        import torch
        from torch.nn.functional import normalize

        if self.space == "feature":
            return normalize(torch.from_numpy(setting.student(rows)), dim=-1)
        return self.predictions(state, setting, rows)


def farthest_first(points: Tensor, selected: Tensor, most: int) -> Tensor:
    """Return the positions of at most ``most`` of the ``points`` (rows, dim), picked farthest first.

    Each pick is the point farthest from all ``selected`` points and earlier picks. The first point wins a tie. Only
    the smallest distance of each point is stored, so a pick costs one pass over the points.
    """
    import torch

    nearest = points.new_full((len(points),), float("inf"))
    for chunk in selected.split(1024):
        # Computed from differences, not from products, so that the distance to a duplicate is exactly zero.
        distances = torch.cdist(points, chunk, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = torch.minimum(nearest, distances.amin(dim=1))
    taken = []
    for _ in range(min(most, len(points))):
        place = int(nearest.argmax())
        taken.append(place)
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(points - points[place], dim=-1))
        nearest[place] = -1.0
    return torch.tensor(taken, dtype=torch.int64)
