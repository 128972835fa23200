"""The base class of feeds that spend a budget of teacher calls where the student's predictions say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.growing import GrowingFeed, first_rows

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.setting import Facts, Setting
    from leafkit.types import Int64


@dataclass(frozen=True, kw_only=True)
class BudgetedFeed(GrowingFeed):
    """A growing set of texts that is the budget of teacher calls; the student's predictions lead the picks.

    The method uses the teacher's vectors of the picked texts only, and a ridge start those of the first texts.

    ``share``: the budget, as a share of the training texts; 1 disables the method.
    ``anchors``: kind of the anchors that replace classes; fitted to the first texts (ours).
    ``count``: number of anchors, at most that of the first texts; ignored with ``anchors=labels`` (ours).
    """

    anchors: AnchorKind = "clusters"
    count: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_fields(check_anchor_fields(self.anchors, self.count))

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for a budget below two texts, or for texts without classes with ``anchors=labels``."""
        super().check(facts)
        if self.anchors == "labels":
            check_anchors(facts, self.anchors, self.count)

    def prepare(self, state: Any, first: Setting) -> None:
        """Add the ``anchors``, fitted to the first texts."""
        state.anchors = fit_anchors(first, self.anchors, min(self.count, first.texts))

    def predictions(self, state: Any, setting: Setting, rows: Int64) -> Tensor:
        """Return the student's probabilities of the anchors for the texts ``rows``, (rows, count)."""
        import torch

        vectors = torch.from_numpy(setting.student(rows)).to(state.anchors.centres.device)
        return torch.softmax(state.anchors.logits(vectors), dim=-1).cpu()

    def start_rows(self, texts: int, seed: int) -> Int64 | None:
        """Return the first texts, whose vectors a ridge start may use; None for all if the method is off."""
        return first_rows(texts, self._first(texts), seed) if self.share < 1 else None

    def teacher_calls(self, texts: int, state: Any) -> int:
        """Return the number of selected texts."""
        return int(state.selected.sum())
