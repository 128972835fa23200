"""SinKD: minimise the Sinkhorn distance between the student's and the teacher's distributions of a batch.

Paper: https://arxiv.org/abs/2402.17110

    x_i = softmax(z_S_i / T),  y_j = softmax(z_T_j / T),  C_ij = |x_i - y_j|_1,  K = exp(-C / eps)
    plan = K with rows, then columns, divided by their sums, 20 times;    loss = sum_ij plan_ij C_ij
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.setting import Facts, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

Cost = Literal["anchors", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Sinkd(Objective):
    """Add the cost of the cheapest transport from the student's distributions of a batch to the teacher's.

    The loss of a text is its row of the transport plan times the costs. The sum over a batch does not change if the
    student's rows are permuted, so the method cannot train alone.

    ``weight``: multiplies the mean over the texts of a batch (ours 0.03). The paper's 0.001 multiplies the sum over a
    batch of 16 to 32 texts.
    ``temperature``: T, which divides the logits in addition to the temperature of the anchors (paper: 2).
    ``blur``: eps, in units of the cost (paper: 0.1). Smaller values come closer to the exact transport. With any blur,
    the loss of equal distributions is above 0.
    ``rounds``: number of times that rows and then columns are normalised (paper: 20).
    ``cost``: ``anchors`` is the paper's L1 distance between distributions, 0 to 2; ``vectors`` is 1 - cosine (ours).
    ``anchors``: kind of the anchors that replace classes (ours); unused with ``cost=vectors``.
    ``count``: number of anchors (ours); ignored with ``anchors=labels`` and with ``cost=vectors``.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2402.17110"
    elicits: ClassVar[tuple[str, ...]] = ("feature",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    cannot_train_alone: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "anchors replace classes; the loss is the mean over the batch, not the sum; LEAF replaces the cross-entropies "
        "that the paper adds; cost=vectors is ours"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.03
    temperature: float = 2.0
    blur: float = 0.1
    rounds: int = 20
    cost: Cost = "anchors"
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        positive = ("temperature", "blur", "rounds")
        checks = {name: (0 < getattr(self, name) < float("inf"), "more than 0") for name in positive}
        checks["cost"] = (self.cost in get_args(Cost), "anchors or vectors")
        self.check_fields(checks | check_anchor_fields(self.anchors, self.count))

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        if self.cost == "anchors":
            check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return a module with ``anchors``, or an empty one for ``cost=vectors``."""
        import torch

        state = torch.nn.Module()
        if self.cost == "anchors":
            state.anchors = fit_anchors(setting, self.anchors, self.count)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the transport cost of each text, (rows,)."""
        import torch
        from torch.nn.functional import normalize

        if self.cost == "vectors":
            costs = 1 - normalize(batch.student, dim=-1) @ normalize(batch.teacher.detach(), dim=-1).T
        else:
            logits = (state.anchors.logits(vectors) for vectors in (batch.student, batch.teacher.detach()))
            student, teacher = (torch.softmax(each / self.temperature, dim=-1) for each in logits)
            costs = (student[:, None] - teacher[None]).abs().sum(dim=-1)
        return {"sinkd": (transport(costs, self.blur, self.rounds) * costs).sum(dim=-1)}


def transport(costs: Tensor, blur: float, rounds: int) -> Tensor:
    """Return the transport plan (rows, rows) for ``costs`` (rows, rows); its rows and columns sum to 1.

    Computed in the log domain, so that no mass underflows if costs are hundreds of times ``blur``. Gradients flow
    through all rounds.
    """
    plan = -costs / blur
    for _ in range(rounds):
        plan = plan - plan.logsumexp(dim=1, keepdim=True)
        plan = plan - plan.logsumexp(dim=0, keepdim=True)
    return plan.exp()
