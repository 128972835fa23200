"""PLD: the student is to rank as the teacher does, each place weighed by what the teacher gives it.

Paper: https://arxiv.org/abs/2506.12542

    pi = the label first, the others by falling teacher logit;    alpha_k = softmax(t / T)[pi_k]
    loss = sum_k alpha_k (logsumexp_{l >= k} s[pi_l] - s[pi_k])
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leafkit.methods.anchors import AnchorKind, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.setting import Setting

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Pld(Objective):
    """The Plackett-Luce loss of the student's ranking of anchors, the teacher's ranking being the choice observed.

    It matches order, not values: at a perfect student it is neither 0 nor stationary, and a larger scale lowers it.

    ``weight``: ours 0.1 as an addition to LEAF; the paper trains on this loss alone.
    ``temperature``: T of the teacher's weights, on top of the anchors' own (paper: 1; 4 for CIFAR-100).
    ``scale``: what the student's cosines are multiplied by; the paper does not soften the student either
    (ours 20, held fixed: a learned scale grows without bound).
    ``anchors``: ``clusters`` and ``texts`` are ranked by the teacher alone; with ``labels`` a text's class comes first.
    ``count``: how many anchors. ``most``: only the teacher's first so many are ranked, and the rest of its mass is
    dropped (ours 256; the paper ranks all classes).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.12542"
    reconstruction: ClassVar[str] = (
        "logits are cosines with anchors of all texts rather than scores of a query's own passages; without labels the "
        "teacher's first anchor stands for the label; the student's scale is fixed"
    )

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
                "scale": (self.scale <= 100, "at most 100, where a softmax of cosines is hard already"),
                "most": (self.most >= 2, "2 or more anchors to rank"),
            }
        )

    def build(self, setting: Setting) -> nn.Module:
        """``anchors`` alone."""
        import torch

        state = torch.nn.Module()
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """The loss of each text's ranking, (rows,)."""
        anchors = state.anchors
        teacher = anchors.logits(batch.teacher.detach())
        student = anchors.logits(batch.student) * anchors.temperature * self.scale
        first = anchors.classes(batch)
        return {"pld": plackett_luce(student, teacher / self.temperature, first, self.most)}


def plackett_luce(student: Tensor, teacher: Tensor, first: Tensor, most: int) -> Tensor:
    """The loss, (rows,), of logits (rows, count) where item ``first`` (rows,) was chosen before all others.

    Equal teacher logits are ranked by their place, so that the same batch gives the same loss.
    """
    order = ranking(teacher, first)[:, :most]
    weights = teacher.softmax(dim=-1).gather(1, order)
    return weighted_ranking_loss(student.gather(1, order), weights)


def ranking(teacher: Tensor, first: Tensor) -> Tensor:
    """Items in the order observed, (rows, count): ``first``, then the others by falling teacher logit."""
    leading = teacher.scatter(1, first[:, None], float("inf"))
    return leading.argsort(dim=1, descending=True, stable=True)


def weighted_ranking_loss(scores: Tensor, weights: Tensor) -> Tensor:
    """sum_k weights_k (logsumexp of the scores from k on - score k), (rows,), for scores in the order observed."""
    rest = scores.flip(1).logcumsumexp(dim=1).flip(1)
    return (weights * (rest - scores)).sum(dim=1)
