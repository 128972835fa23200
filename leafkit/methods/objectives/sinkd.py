"""SinKD: what it costs to carry the student's distributions of a batch over to the teacher's.

Paper: https://arxiv.org/abs/2402.17110

    x_i = softmax(z_S_i / T),  y_j = softmax(z_T_j / T),  C_ij = |x_i - y_j|_1,  K = exp(-C / eps)
    plan = K with rows, then columns, divided by their sums, 20 times;    loss = sum_ij plan_ij C_ij
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from leafkit.methods.anchors import AnchorKind, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.setting import Setting

if TYPE_CHECKING:
    from torch import Tensor, nn

Cost = Literal["anchors", "vectors"]


@dataclass(frozen=True, kw_only=True)
class Sinkd(Objective):
    """The Sinkhorn distance of a batch, as each text's part of it: its mass times what that mass travels.

    It does not know which text is which: permuting the student's rows alone changes nothing in sum.

    ``weight``: the mean over texts is weighed, so that it does not depend on the batch. The paper's 0.001 is for the
    sum over a batch of 16 to 32, hence our default of 0.03.
    ``temperature``: T on top of the anchors' own (paper: 2).
    ``blur``: eps, in units of the cost (paper: 0.1); smaller is nearer to the exact transport, and not 0 at equality.
    ``rounds``: of dividing rows and columns (paper: 20).
    ``cost``: ``anchors`` is the paper's L1 distance of distributions, 0 to 2; ``vectors`` is 1 - cosine (ours).
    ``anchors``, ``count``: what stands for classes, and how many.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2402.17110"
    cannot_train_alone: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "anchors stand for classes; the sum is divided by the batch; LEAF stands for the cross-entropies beside it; "
        "the cost of vectors is ours"
    )

    weight: float = 0.03
    temperature: float = 2.0
    blur: float = 0.1
    rounds: int = 20
    cost: Cost = "anchors"
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        positive = ("temperature", "blur", "rounds")
        wanted = {name: (0 < getattr(self, name) < float("inf"), "more than 0") for name in positive}
        self.check_fields(wanted | {"cost": (self.cost in get_args(Cost), "anchors or vectors")})

    def build(self, setting: Setting) -> nn.Module:
        """``anchors``, where the cost is by them."""
        import torch

        state = torch.nn.Module()
        if self.cost == "anchors":
            state.anchors = fit_anchors(setting, self.anchors, self.count)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Each text's row of the transport, (rows,)."""
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
    """The plan (rows, rows) whose rows and columns sum to 1, for ``costs`` (rows, rows).

    In the log domain, so that no mass vanishes where costs are hundreds of times ``blur``. Gradients pass through all
    rounds.
    """
    plan = -costs / blur
    for _ in range(rounds):
        plan = plan - plan.logsumexp(dim=1, keepdim=True)
        plan = plan - plan.logsumexp(dim=0, keepdim=True)
    return plan.exp()
