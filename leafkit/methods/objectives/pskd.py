"""PS-KD: the student learns each text's class softened by what it predicted for that text an epoch ago.

Paper: https://arxiv.org/abs/2006.12000

    alpha_e = alpha e / E, for epoch e = 1 to E
    target  = (1 - alpha_e) y + alpha_e P, of the one-hot class y and the past prediction P (y before there is one)
    loss    = - sum_c target_c log q_c, with the gradient (1 - alpha_e) (q - y) + alpha_e (q - P) in the logits
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import torch
from torch import nn
from torch.nn.functional import one_hot

from leafkit.methods.anchors import AnchorKind, Anchors, fit_anchors
from leafkit.methods.method import Objective
from leafkit.methods.objectives.ofa import weighted_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Setting


@dataclass(frozen=True, kw_only=True)
class Pskd(Objective):
    """Cross-entropy with each text's class, mixed ever more with the student's own prediction of an epoch ago.

    The teacher has a say through the anchors alone. Nothing happens beyond cross-entropy in the first epoch, so that
    it wants five epochs or more. Predictions are those of the training steps.

    ``weight``: multiplies the loss (paper: 1, the only loss; ours 0.1 as an addition to LEAF).
    ``alpha``: share of the past prediction in the target of the last epoch, 0 to 1 (paper: 0.8); 0 is cross-entropy.
    ``anchors``, ``count``: the kind of anchors that stand for classes, and how many unless by labels (ours); texts
    times anchors times two bytes are remembered.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2006.12000"
    moves_target: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "logits are those against the anchors, and a text without a label has the class of the anchor nearest to its "
        "teacher vector; past predictions are kept as float16 and stretched back to a sum of one; where a feed draws a "
        "text again within an epoch, its past prediction is that of the last draw"
    )

    weight: float = 0.1
    alpha: float = 0.8
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        wanted = {
            "alpha": (0 <= self.alpha <= 1, "0 to 1"),
            "anchors": (self.anchors in get_args(AnchorKind), ", ".join(get_args(AnchorKind))),
            "count": (self.count >= 2, "2 or more anchors"),
        }
        self.check_fields(wanted)

    @property
    def remembers_texts(self) -> bool:
        """Past predictions are stored by row."""
        return True

    def build(self, setting: Setting) -> nn.Module:
        """``anchors``, the ``past`` predictions of all texts and how far the training has come."""
        return Memory(fit_anchors(setting, self.anchors, self.count), setting)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """The cross-entropy of each text with its softened class, (rows,)."""
        logits = state.anchors.logits(batch.student)
        return {"pskd": weighted_cross_entropy(logits, state.targets(batch, self.alpha))}

    def after_step(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Remember what the student predicted for these texts in the step just made, and count the step."""
        state.past[batch.rows] = torch.softmax(state.anchors.logits(batch.student), dim=-1).to(state.past.dtype)
        state.seen[batch.rows] = True
        state.step += 1


class Memory(nn.Module):
    """``past`` predictions (texts, count) of the texts ``seen`` (texts,), and the ``step`` that comes next."""

    past: Tensor
    seen: Tensor
    step: Tensor
    epoch_steps: Tensor
    steps: Tensor

    def __init__(self, anchors: Anchors, setting: Setting) -> None:
        super().__init__()
        self.anchors = anchors
        self.register_buffer("past", torch.zeros(setting.texts, len(anchors.centres), dtype=torch.float16))
        self.register_buffer("seen", torch.zeros(setting.texts, dtype=torch.bool))
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("epoch_steps", torch.tensor(setting.epoch_steps))
        self.register_buffer("steps", torch.tensor(setting.steps))

    def targets(self, batch: Batch, alpha: float) -> Tensor:
        """What each text's prediction is to be, (rows, count): its class where it was never seen."""
        wide = torch.promote_types(batch.student.dtype, torch.float32)
        classes = one_hot(self.anchors.classes(batch), self.past.shape[1]).to(wide)
        past = self.past[batch.rows].to(wide)
        past = past / past.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(wide).tiny)
        return softened(classes, torch.where(self.seen[batch.rows, None], past, classes), self.alpha_now(alpha))

    def alpha_now(self, alpha: float) -> Tensor:
        """The share of the past in this epoch's targets; a last epoch cut short counts as one."""
        epoch = self.step // self.epoch_steps + 1
        epochs = (self.steps + self.epoch_steps - 1) // self.epoch_steps
        return alpha * (epoch / epochs).clamp(max=1.0)


def softened(classes: Tensor, past: Tensor, alpha: Tensor | float) -> Tensor:
    """The mix of one-hot ``classes`` and ``past`` predictions, both (rows, count): a share ``alpha`` is the past's."""
    return (1 - alpha) * classes + alpha * past
