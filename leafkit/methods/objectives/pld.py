"""PLD: the student ranks documents or anchors as the teacher does; ranks are weighted by the teacher's probability.

Paper: https://arxiv.org/abs/2506.12542

    pi = what is right first, then the others in descending order of teacher logits;    alpha_k = softmax(t / T)[pi_k]
    loss = sum_k alpha_k (logsumexp_{l >= k} s[pi_l] - s[pi_k])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchors, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.candidates import check_lists, choices, fit_candidates
from leafkit.methods.method import Objective
from leafkit.methods.setting import Facts, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

Items = Literal[AnchorKind, "pairs"]


@dataclass(frozen=True, kw_only=True)
class Pld(Objective):
    """Add the Plackett-Luce loss of the teacher's ranking of the documents or anchors under the student's scores.

    The loss matches the order, not the values. For a perfect student, the loss is neither 0 nor at a minimum: a larger
    ``scale`` lowers the loss.

    ``weight``: multiplies the loss (ours 0.1, added to LEAF; the paper trains on this loss alone).
    ``temperature``: T, which divides the teacher's logits in addition to the temperature of the anchors (paper: 1; 4
    for CIFAR-100).
    ``scale``: multiplies the student's cosines (ours 20, fixed, because a learned scale grows without bound; the paper
    does not soften the student either).
    ``anchors``: what is ranked. ``pairs`` are the documents of each query's list, where those that answer come first;
    texts without a list have no loss. Anchors are the same for all texts: with ``labels`` the text's class comes first,
    ``clusters`` and ``texts`` are ranked by the teacher only.
    ``count``: number of anchors, or length of a list. ``most``: how many of the teacher's first are ranked; the
    probability of the others is dropped (ours 256; the paper ranks all classes).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2506.12542"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("rank optimization",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval",)
    reconstruction: ClassVar[str] = (
        "logits are cosines with documents or anchors; with clusters and texts the teacher's first anchor replaces the "
        "label; all documents that answer a query come first, in the teacher's order; the student's scale is fixed"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    temperature: float = 1.0
    scale: float = 20.0
    anchors: Items = "texts"
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
                "anchors": (self.anchors in ("pairs", *get_args(AnchorKind)), "clusters, labels, texts or pairs"),
                "count": (self.count >= 2, "2 or more anchors"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The labels or pairs that ``anchors`` names."""
        return frozenset({"pairs"}) if self.anchors == "pairs" else anchor_needs(self.anchors)

    @property
    def remembers_texts(self) -> bool:
        """Whether lists are stored by row: with ``anchors=pairs``."""
        return self.anchors == "pairs"

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors or lists."""
        if self.anchors == "pairs":
            check_lists(facts, self.count, "pld:count")
        else:
            check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return a module with the ``anchors``, or with the lists under this name."""
        import torch

        state: Any = torch.nn.Module()
        if self.anchors == "pairs":
            state.anchors = fit_candidates(setting, self.count)
        else:
            state.anchors = fit_anchors(setting, self.anchors, self.count)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the ranking loss of each text, (rows,)."""
        anchors, asked = state.anchors, choices(state.anchors, batch.rows, batch.labels)
        teacher = asked.logits(batch.teacher.detach())
        student = asked.logits(batch.student) * anchors.temperature * self.scale
        return {"pld": plackett_luce(student, teacher / self.temperature, asked.gold, self.most) * asked.listed}


def plackett_luce(student: Tensor, teacher: Tensor, gold: Tensor, most: int) -> Tensor:
    """Return the PLD loss, (rows,), of logits (rows, count); the items marked in ``gold`` (rows, count) come first.

    Only the first ``most`` items are ranked. Ties of teacher logits are broken by position, so that the same batch
    gives the same loss.
    """
    order = ranking(teacher, gold)[:, :most]
    weights = teacher.softmax(dim=-1).gather(1, order)
    return weighted_ranking_loss(student.gather(1, order), weights)


def ranking(teacher: Tensor, gold: Tensor) -> Tensor:
    """Return the ranking (rows, count): the items of ``gold``, then the others, each by descending teacher logits."""
    order = teacher.argsort(dim=1, descending=True, stable=True)
    return order.gather(1, gold.gather(1, order).int().argsort(dim=1, descending=True, stable=True))


def weighted_ranking_loss(scores: Tensor, weights: Tensor) -> Tensor:
    """Return sum_k weights_k (logsumexp(scores_k, scores_k+1, ...) - scores_k), (rows,), for scores in ranked order."""
    rest = scores.flip(1).logcumsumexp(dim=1).flip(1)
    return (weights * (rest - scores)).sum(dim=1)
