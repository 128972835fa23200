"""PCoreSet: few texts are asked of the teacher, those whose predictions by the student are far from all asked before.

Paper: https://arxiv.org/abs/2506.00910

    p(x) = softmax(logits of the student for x)
    next = argmax over unasked x of min over asked y of ||p(x) - p(y)||
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy

from leafkit.errors import OptionError
from leafkit.methods.anchors import AnchorKind, fit_anchors
from leafkit.methods.method import Feed
from leafkit.methods.setting import Pool, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.types import Int64

Space = Literal["prob", "feature", "random"]


@dataclass(frozen=True, kw_only=True)
class Pcoreset(Feed):
    """Trains on a growing set of texts within a budget of teacher calls, chosen greedily, farthest first.

    Other texts' teacher vectors are not used here, but a ridge start of the head, being no part of this, uses them.
    ``every``: steps between two rounds of picks, 0 for none after the first texts (paper: 15 rounds).
    ``first``, ``picks``: texts drawn at random before step 0, at most the budget, and texts added in a round (paper:
    one a class each). The anchors are fitted on the first.
    ``share``: the budget, as a part of the training texts; 1 for off.
    ``space``: where distances are taken: ``prob`` (the paper), ``feature`` on unit vectors, or ``random`` picks.
    ``anchors``, ``count``: the kind of anchors that stand for classes and how many, at most one a first text (ours).
    ``candidates``: most unasked texts that a round considers, drawn from the seed (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.00910"
    off: ClassVar[Mapping[str, Any]] = {"share": 1.0}
    reconstruction: ClassVar[str] = (
        "teacher calls are scarce, not labels; anchors fitted on the first texts stand for classes; one student goes "
        "on through all rounds with LEAF, without the two heads and unasked texts; no outliers are dropped"
    )

    every: int = 15
    first: int = 100
    picks: int = 60
    share: float = 0.25
    space: Space = "prob"
    anchors: AnchorKind = "clusters"
    count: int = 16
    candidates: int = 5000

    def __post_init__(self) -> None:
        wanted = {
            "every": (self.every >= 0, "0 or more steps"),
            "first": (self.first >= 2, "2 or more texts"),
            "picks": (self.picks >= 1, "1 or more texts"),
            "share": (0 < self.share <= 1, "more than 0, at most 1"),
            "space": (self.space in get_args(Space), ", ".join(get_args(Space))),
            "anchors": (self.anchors in get_args(AnchorKind), ", ".join(get_args(AnchorKind))),
            "count": (self.count >= 2, "2 or more anchors"),
            "candidates": (self.candidates >= self.picks, "at least as many texts as picks"),
        }
        self.check_fields(wanted)

    def build(self, setting: Setting) -> nn.Module:
        """``selected``: the texts that the teacher may be asked for, (texts,); ``anchors`` where they are needed."""
        import torch

        selected = numpy.full(setting.texts, self.share == 1)
        state = torch.nn.Module()
        if self.share < 1:
            first = min(self.first, round(self.share * setting.texts))
            if first < 2:
                raise OptionError(f"pcoreset:share is {self.share} of {setting.texts} texts; wanted two texts or more")
            rows = numpy.sort(numpy.random.default_rng([setting.seed, 13]).permutation(setting.texts)[:first])
            selected[rows] = True
            if self.space == "prob":
                state.anchors = fit_anchors(setting.restricted(rows), self.anchors, min(self.count, first))
        state.register_buffer("selected", torch.from_numpy(selected))
        return state

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Add a round of picks; the first texts are chosen before step 0."""
        import torch

        selected = state.selected.cpu().numpy()
        most = min(self.picks, round(self.share * setting.texts) - int(selected.sum()))
        if step == 0 or most <= 0:
            return
        unasked = numpy.random.default_rng([setting.seed, step, 13]).permutation(numpy.flatnonzero(~selected))
        rows = unasked[: most if self.space == "random" else self.candidates]
        if self.space != "random":
            asked = self._points(state, setting, numpy.flatnonzero(selected))
            rows = rows[farthest_first(self._points(state, setting, rows), asked, most).numpy()]
        state.selected[torch.from_numpy(rows).to(state.selected.device)] = True

    def feed(self, pool: Pool, state: Any) -> Pool:
        """The selected texts of ``pool``."""
        if self.share == 1:
            return pool
        kept = state.selected.cpu().numpy()[pool.rows]
        return Pool(rows=pool.rows[kept], weights=None if pool.weights is None else pool.weights[kept])

    def teacher_calls(self, texts: int, state: Any) -> int:
        """The selected texts."""
        return int(state.selected.sum())

    def _points(self, state: Any, setting: Setting, rows: Int64) -> Tensor:
        import torch
        from torch.nn.functional import normalize

        vectors = torch.from_numpy(setting.student(rows))
        if self.space == "feature":
            return normalize(vectors, dim=-1)
        return torch.softmax(state.anchors.logits(vectors.to(state.anchors.centres.device)), dim=-1).cpu()


def farthest_first(points: Tensor, asked: Tensor, most: int) -> Tensor:
    """Places of at most ``most`` of ``points`` (rows, dim), each the farthest from ``asked`` and all taken before it.

    Ties go to the first. Only the running minimum of each point is kept, so that a pick costs one pass over them.
    """
    import torch

    nearest = points.new_full((len(points),), float("inf"))
    for chunk in asked.split(1024):
        # Differences, not the product formula, so that a duplicate is at a distance of exactly zero.
        distances = torch.cdist(points, chunk, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = torch.minimum(nearest, distances.amin(dim=1))
    taken = []
    for _ in range(min(most, len(points))):
        place = int(nearest.argmax())
        taken.append(place)
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(points - points[place], dim=-1))
        nearest[place] = -1.0
    return torch.tensor(taken, dtype=torch.int64)
