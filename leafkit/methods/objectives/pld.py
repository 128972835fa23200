"""PLD: the student ranks the anchors as the teacher does; each rank is weighted by the teacher's probability.

Paper: https://arxiv.org/abs/2506.12542

    pi = the label first, then the others in descending order of teacher logits;    alpha_k = softmax(t / T)[pi_k]
    loss = sum_k alpha_k (logsumexp_{l >= k} s[pi_l] - s[pi_k])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.setting import Facts, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Pld(Objective):
    """Add the Plackett-Luce loss of the teacher's ranking of the anchors under the student's scores.

    The loss matches the order, not the values. For a perfect student, the loss is neither 0 nor at a minimum: a larger
    ``scale`` lowers the loss.

    ``weight``: multiplies the loss (ours 0.1, added to LEAF; the paper trains on this loss alone).
    ``temperature``: T, which divides the teacher's logits in addition to the temperature of the anchors (paper: 1; 4
    for CIFAR-100).
    ``scale``: multiplies the student's cosines (ours 20, fixed, because a learned scale grows without bound; the paper
    does not soften the student either).
    ``anchors``: kind of the anchors. ``clusters`` and ``texts`` are ranked by the teacher only; with ``labels`` the
    text's class comes first.
    ``count``: number of anchors. ``most``: how many of the teacher's first anchors are ranked; the probability of the
    others is dropped (ours 256; the paper ranks all classes).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.12542"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("rank optimization",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval",)
    reconstruction: ClassVar[str] = (
        "logits are cosines with anchors that all texts share, not scores of the passages of one query; without labels "
        "the teacher's first anchor replaces the label; the student's scale is fixed"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    temperature: float = 1.0
    scale: float = 20.0
    anchors: AnchorKind = "texts"
    count: int = 256
    most: int = 256

    def __post_init__(self) -> None:
        self.check_fields(
            {name: (0 < getattr(self, name) < float("inf"), "more than 0") for name in ("temperature", "scale")}
        )
        self.check_fields(
            {
                "scale": (self.scale <= 100, "at most 100; at 100 a softmax of cosines is already hard"),
                "most": (self.most >= 2, "2 or more anchors to rank"),
                **check_anchor_fields(self.anchors, self.count),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return a module with the ``anchors``."""
        import torch

        state = torch.nn.Module()
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the ranking loss of each text, (rows,)."""
        anchors = state.anchors
        teacher = anchors.logits(batch.teacher.detach())
        student = anchors.logits(batch.student) * anchors.temperature * self.scale
        first = anchors.classes(batch.teacher, batch.labels)
        return {"pld": plackett_luce(student, teacher / self.temperature, first, self.most)}


def plackett_luce(student: Tensor, teacher: Tensor, first: Tensor, most: int) -> Tensor:
    """Return the PLD loss, (rows,), of logits (rows, count); ``first`` (rows,) is the top item of each row.

    Only the first ``most`` items are ranked. Ties of teacher logits are broken by position, so that the same batch
    gives the same loss.
    """
    order = ranking(teacher, first)[:, :most]
    weights = teacher.softmax(dim=-1).gather(1, order)
    return weighted_ranking_loss(student.gather(1, order), weights)


def ranking(teacher: Tensor, first: Tensor) -> Tensor:
    """Return the ranking (rows, count): item ``first``, then the others in descending order of teacher logits."""
    leading = teacher.scatter(1, first[:, None], float("inf"))
    return leading.argsort(dim=1, descending=True, stable=True)


def weighted_ranking_loss(scores: Tensor, weights: Tensor) -> Tensor:
    """Return sum_k weights_k (logsumexp(scores_k, scores_k+1, ...) - scores_k), (rows,), for scores in ranked order."""
    rest = scores.flip(1).logcumsumexp(dim=1).flip(1)
    return (weights * (rest - scores)).sum(dim=1)
