"""TAID: the target moves from the student's own distribution to the teacher's during training.

Paper: https://arxiv.org/abs/2501.16937

    p_t = softmax((1 - t) sg[z_S] + t z_T),    loss = CE(p_t, q)
    r = (previous - loss) / previous,    m <- beta m + (1 - beta) r,    dt = alpha sigmoid(m) (1 - t)
    t <- min(1, max(start + (1 - start) step / steps, t + dt))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.objectives.ofa import weighted_cross_entropy
from leafkit.methods.setting import Facts, Setting

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Taid(Objective):
    """Add the cross-entropy with a mix of the student's own and the teacher's distribution over the anchors.

    The logits of the two are mixed. The teacher's share t grows from ``start`` to 1.

    ``weight``: multiplies the loss (ours 0.1, added to LEAF; the paper trains on this loss alone).
    ``start``: the teacher's share t at step 0, 0 to 1 (paper: 0.4; 0.2 for two pairs).
    ``adaptive``: if true, t grows faster than the linear ramp while the loss falls; if false, t follows the ramp. A
    step adds at most ``rate``, so the difference shows only over thousands of steps.
    ``rate``: alpha of the schedule, 0 to 1 (paper: 5e-4).
    ``momentum``: beta of the schedule, 0 to 1 (paper: 0.99).
    ``anchors``: kind of the anchors that replace the paper's vocabulary (ours).
    ``count``: number of anchors; ignored with ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2501.16937"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    moves_target: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "logits are cosines with anchors divided by a temperature, not the logits of a vocabulary"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    start: float = 0.4
    adaptive: bool = True
    rate: float = 5e-4
    momentum: float = 0.99
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        shares = {name: (0 <= getattr(self, name) <= 1, "0 to 1") for name in ("start", "rate", "momentum")}
        self.check_fields(shares | check_anchor_fields(self.anchors, self.count))

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return a module with the ``anchors`` and the state of the schedule.

        Buffers: ``share`` is t, ``previous`` the last loss (negative before the first), ``trend`` is m, and ``step``
        counts the steps taken out of ``steps``.
        """
        import torch

        state: Any = torch.nn.Module()
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        for name, value in (("share", self.start), ("previous", -1.0), ("trend", 0.0), ("step", 0.0)):
            state.register_buffer(name, torch.tensor(value, dtype=torch.float64))
        state.steps = setting.steps
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the cross-entropy of each text, (rows,); for a perfect student it is an entropy, not 0."""
        student, teacher = state.anchors.logits(batch.student), state.anchors.logits(batch.teacher)
        return {"taid": moving_cross_entropy(student, teacher, state.share.to(student))}

    def after_step(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Raise t; it never falls. The first step only stores the loss."""
        import torch

        loss = terms["taid"].double().mean().to(state.share.device)
        ahead = state.share.clone()
        if self.adaptive and float(state.previous) >= 0:
            change = (state.previous - loss) / (state.previous + 1e-15)
            state.trend.mul_(self.momentum).add_((1 - self.momentum) * change)
            ahead += self.rate * torch.sigmoid(state.trend) * (1 - state.share)
        ramp = self.start + (1 - self.start) * state.step / max(1, state.steps)
        state.share.copy_(torch.maximum(ramp, ahead).clamp(max=1.0))
        state.previous.copy_(loss)
        state.step += 1


def moving_cross_entropy(student: Tensor, teacher: Tensor, share: Tensor | float) -> Tensor:
    """Return -sum p_t log q, (rows,), of logits (rows, count); ``share`` is t, and p_t carries no gradient."""
    import torch

    target = torch.softmax((1 - share) * student.detach() + share * teacher.detach(), dim=-1)
    return weighted_cross_entropy(student, target)
