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

from leafkit.errors import OptionError
from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, fit_anchors
from leafkit.methods.method import Feed
from leafkit.methods.setting import Pool, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.types import Int64

Space = Literal["prob", "feature", "random"]


@dataclass(frozen=True, kw_only=True)
class Pcoreset(Feed):
    """Train on a growing set of texts within a budget of teacher calls; each pick is the text farthest from the set.

    The method uses the teacher's vectors of the picked texts only. A ridge start of the head is not part of the method
    and uses the vectors of all texts.

    ``every``: number of steps between two rounds of picks; 0 keeps the first texts only (paper: 15 rounds).
    ``first``: number of texts drawn at random before step 0, at most the budget (paper: one text of each class). The
    anchors are fitted to these texts.
    ``picks``: number of texts added in each round (paper: one text of each class).
    ``share``: the budget, as a share of the training texts; 1 disables the method.
    ``space``: where distances are measured: ``prob`` between predictions (paper), ``feature`` between unit vectors, or
    ``random`` for random picks.
    ``anchors``: kind of the anchors that replace classes (ours).
    ``count``: number of anchors, at most that of the first texts; ignored with ``anchors=labels`` (ours).
    ``candidates``: largest number of texts that a round considers, drawn from the seed (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.00910"
    off: ClassVar[Mapping[str, Any]] = {"share": 1.0}
    reconstruction: ClassVar[str] = (
        "teacher calls are scarce, not labels; anchors fitted to the first texts replace classes; one student is "
        "trained with LEAF through all rounds, without the paper's two heads and without unlabelled texts; no outliers "
        "are dropped"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "every": 5, "first": 40, "picks": 20, "share": 0.5}

    every: int = 15
    first: int = 100
    picks: int = 60
    share: float = 0.25
    space: Space = "prob"
    anchors: AnchorKind = "clusters"
    count: int = 16
    candidates: int = 5000

    def __post_init__(self) -> None:
        checks = {
            "every": (self.every >= 0, "0 or more steps"),
            "first": (self.first >= 2, "2 or more texts"),
            "picks": (self.picks >= 1, "1 or more texts"),
            "share": (0 < self.share <= 1, "more than 0 and at most 1"),
            "space": (self.space in get_args(Space), ", ".join(get_args(Space))),
            **check_anchor_fields(self.anchors, self.count),
            "candidates": (self.candidates >= self.picks, f"{self.picks} or more texts, the number of picks"),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def build(self, setting: Setting) -> nn.Module:
        """Return ``selected``, which marks the texts to train on, (texts,), and the ``anchors`` for ``space=prob``."""
        import torch

        selected = numpy.full(setting.texts, self.share == 1)
        state = torch.nn.Module()
        if self.share < 1:
            first = min(self.first, round(self.share * setting.texts))
            if first < 2:
                raise OptionError(
                    f"pcoreset:share is {self.share} of {setting.texts} texts; expected a share of 2 texts or more"
                )
            rows = numpy.sort(numpy.random.default_rng([setting.seed, 13]).permutation(setting.texts)[:first])
            selected[rows] = True
            if self.space == "prob":
                state.anchors = fit_anchors(setting.restricted(rows), self.anchors, min(self.count, first))
        state.register_buffer("selected", torch.from_numpy(selected))
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Add a round of picks; at step 0 the first texts are already chosen."""
        import torch

        selected = state.selected.cpu().numpy()
        most = min(self.picks, round(self.share * setting.texts) - int(selected.sum()))
        if step == 0 or most <= 0:
            return
        remaining = numpy.random.default_rng([setting.seed, step, 13]).permutation(numpy.flatnonzero(~selected))
        rows = remaining[: most if self.space == "random" else self.candidates]
        if self.space != "random":
            selected_points = self._points(state, setting, numpy.flatnonzero(selected))
            rows = rows[farthest_first(self._points(state, setting, rows), selected_points, most).numpy()]
        state.selected[torch.from_numpy(rows).to(state.selected.device)] = True

    def feed(self, pool: Pool, state: Any) -> Pool:
        """Return the selected rows of ``pool``."""
        if self.share == 1:
            return pool
        chosen = state.selected.cpu().numpy()[pool.rows]
        return Pool(rows=pool.rows[chosen], weights=None if pool.weights is None else pool.weights[chosen])

    def teacher_calls(self, texts: int, state: Any) -> int:
        """Return the number of selected texts."""
        return int(state.selected.sum())

    def _points(self, state: Any, setting: Setting, rows: Int64) -> Tensor:
        """Return the student's predictions or unit vectors of ``rows``, between which distances are measured."""
        import torch
        from torch.nn.functional import normalize

        vectors = torch.from_numpy(setting.student(rows))
        if self.space == "feature":
            return normalize(vectors, dim=-1)
        return torch.softmax(state.anchors.logits(vectors.to(state.anchors.centres.device)), dim=-1).cpu()


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
