"""PS-KD: the student learns each text's class, softened by its own prediction from the previous epoch.

Paper: https://arxiv.org/abs/2006.12000

    alpha_e = alpha e / E, for epoch e = 1 to E
    target  = (1 - alpha_e) y + alpha_e P, with the one-hot class y and the past prediction P (y in the first epoch)
    loss    = - sum_c target_c log q_c, with the gradient (1 - alpha_e) (q - y) + alpha_e (q - P) in the logits
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import one_hot

from leafkit.methods.anchors import AnchorKind, Anchors, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.method import Objective
from leafkit.methods.objectives.ofa import weighted_cross_entropy

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting


@dataclass(frozen=True, kw_only=True)
class Pskd(Objective):
    """Add the cross-entropy with a target that mixes each text's class with the student's past prediction.

    The share of the past prediction grows with each epoch. The first epoch is plain cross-entropy, so train for five
    epochs or more. Past predictions are those of the training steps, not of an extra pass. The teacher takes part only
    through the anchors.

    ``weight``: multiplies the loss (ours 0.1, added to LEAF; paper: 1, the only loss).
    ``alpha``: share of the past prediction in the target of the last epoch, 0 to 1 (paper: 0.8); 0 is cross-entropy.
    ``anchors``: kind of the anchors that replace classes (ours).
    ``count``: number of anchors; ignored with ``anchors=labels`` (ours). The stored predictions take
    texts x anchors x 2 bytes.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2006.12000"
    elicits: ClassVar[tuple[str, ...]] = ("self-knowledge",)
    learns_by: ClassVar[tuple[str, ...]] = ("supervised fine-tuning",)
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    moves_target: ClassVar[bool] = True
    reconstruction: ClassVar[str] = (
        "logits are those with the anchors; a text without a label has the class of the anchor nearest to its teacher "
        "vector; past predictions are stored as float16 and rescaled to a sum of 1; if a feed draws a text twice in an "
        "epoch, the past prediction is that of the last draw"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    alpha: float = 0.8
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        checks = {
            "alpha": (0 <= self.alpha <= 1, "0 to 1"),
            **check_anchor_fields(self.anchors, self.count),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    @property
    def remembers_texts(self) -> bool:
        """Whether predictions are stored by row: always."""
        return True

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``anchors``, the ``past`` predictions of all texts and the step counters."""
        return PastPredictions(fit_anchors(setting, self.anchors, self.count), setting)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the cross-entropy of each text with its softened class, (rows,)."""
        logits = state.anchors.logits(batch.student)
        return {"pskd": weighted_cross_entropy(logits, state.targets(batch, self.alpha))}

    def after_step(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Store the student's predictions for the texts of this step, and count the step."""
        state.past[batch.rows] = torch.softmax(state.anchors.logits(batch.student), dim=-1).to(state.past.dtype)
        state.seen[batch.rows] = True
        state.step += 1


class PastPredictions(nn.Module):
    """The student's past predictions of all training texts.

    ``past`` (texts, count) is valid for the texts marked in ``seen`` (texts,). ``step`` is the number of the next step.
    """

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
        """Return the target of each text, (rows, count): the softened class, or the class of a text not seen before."""
        wide = torch.promote_types(batch.student.dtype, torch.float32)
        classes = one_hot(self.anchors.classes(batch.teacher, batch.labels), self.past.shape[1]).to(wide)
        past = self.past[batch.rows].to(wide)
        past = past / past.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(wide).tiny)
        return softened(classes, torch.where(self.seen[batch.rows, None], past, classes), self.alpha_now(alpha))

    def alpha_now(self, alpha: float) -> Tensor:
        """Return the share of the past predictions in this epoch; a last, partial epoch counts as one epoch."""
        epoch = self.step // self.epoch_steps + 1
        epochs = (self.steps + self.epoch_steps - 1) // self.epoch_steps
        return alpha * (epoch / epochs).clamp(max=1.0)


def softened(classes: Tensor, past: Tensor, alpha: Tensor | float) -> Tensor:
    """Return (1 - alpha) ``classes`` + alpha ``past``: one-hot classes and past predictions, both (rows, count)."""
    return (1 - alpha) * classes + alpha * past
