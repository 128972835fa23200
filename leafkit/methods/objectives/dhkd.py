"""DHKD: an auxiliary head takes the logit loss, so that the shipped head hears of LEAF alone.

Paper: https://arxiv.org/abs/2411.08937

    d = s - t, for each anchor, of the auxiliary head's logits s and the teacher's t
    BinaryKL-Norm = T^2 KL(Bernoulli(1/2) || Bernoulli(sigmoid(d / T))) = T^2 log cosh(d / (2 T))
    BinaryKL      = T^2 KL(Bernoulli(sigmoid(t / T)) || Bernoulli(sigmoid(s / T)))
    aligned: g_kd less its component along g_base where <g_kd, g_base> < 0
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import logsigmoid, normalize

from leafkit.methods.anchors import AnchorKind, Anchors, fit_anchors
from leafkit.methods.method import Objective
from leafkit.methods.objectives.leaf import Leaf

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Setting

Loss = Literal["binary_kl_norm", "binary_kl"]


@dataclass(frozen=True, kw_only=True)
class Dhkd(Objective):
    """Raw teacher logits against the anchors are matched by a second head on what the shipped head sees.

    The second head is trained beside the student and thrown away with the run; the shipped head gets no gradient of
    this loss. Logits are not centred on each anchor's mean: in BinaryKL-Norm that cancels.

    ``weight``: multiplies the loss (paper: 1 on CIFAR-100, 0.1 on ImageNet for a sum over classes; ours 0.1).
    ``loss``: ``binary_kl_norm`` (what the paper uses) or ``binary_kl`` (what it starts from).
    ``temperature``: divides the logits, which are cosines over the anchors' own temperature (paper: 2).
    ``units``: width of the second head's hidden layer; 0 for a linear head (paper: 200 or linear, by pair).
    ``align``: whether the gradient loses, text by text, what opposes LEAF's (paper: optional; ours off).
    ``anchors``, ``count``: the kind of anchors that stand for classes, and how many unless by labels (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2411.08937"
    reconstruction: ClassVar[str] = (
        "LEAF takes the place of cross-entropy on the first head; the second head writes a vector, whose logits are "
        "those against the anchors; mean over anchors, not sum; its hidden layer has no dropout and no batch "
        "normalisation, which would tie a text's loss to its batch; gradients are aligned at the representation "
        "that both heads share, each text by itself, not over all parameters at once; no gradient clipping and no "
        "switching off halfway"
    )

    weight: float = 0.1
    loss: Loss = "binary_kl_norm"
    temperature: float = 2.0
    units: int = 200
    align: bool = False
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        wanted = {
            "loss": (self.loss in get_args(Loss), " or ".join(get_args(Loss))),
            "temperature": (0 < self.temperature < math.inf, "more than 0"),
            "units": (self.units >= 0, "0 for a linear head, or more"),
            "anchors": (self.anchors in get_args(AnchorKind), ", ".join(get_args(AnchorKind))),
            "count": (self.count >= 2, "2 or more anchors"),
        }
        self.check_fields(wanted)

    def build(self, setting: Setting) -> nn.Module:
        """``anchors``, and the second ``head`` from what the first one sees to the teacher's space."""
        return Auxiliary(fit_anchors(setting, self.anchors, self.count), setting.width, self.units, setting.dim)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """The mean over anchors of each text's divergence, (rows,)."""
        hidden = batch.hidden
        if self.align and hidden.requires_grad:
            base = base_gradient(batch)
            # A node of its own, so that the hook sees the gradient of this loss and of no other.
            hidden = hidden.view_as(hidden)
            hidden.register_hook(lambda gradient: aligned(gradient, base))
        divergence = binary_kl_norm if self.loss == "binary_kl_norm" else binary_kl
        teacher = state.anchors.logits(batch.teacher.detach())
        return {"dhkd": divergence(state.logits(hidden), teacher, self.temperature).mean(dim=-1)}


class Auxiliary(nn.Module):
    """The second head, linear without ``units``, and the ``anchors`` that make logits of its vectors."""

    def __init__(self, anchors: Anchors, width: int, units: int, dim: int) -> None:
        super().__init__()
        self.anchors = anchors
        self.head: nn.Module = nn.Linear(width, dim)
        if units:
            self.head = nn.Sequential(nn.Linear(width, units), nn.ReLU(), nn.Linear(units, dim))

    def logits(self, hidden: Tensor) -> Tensor:
        """The second head's logits, (rows, count), in the precision of its weights."""
        return self.anchors.logits(self.head(hidden.to(next(self.head.parameters()).dtype)))


def binary_kl_norm(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """BinaryKL-Norm of each logit, in the shape of the logits: a smooth L1 distance, zero at equality alone."""
    scaled = (student - teacher) / temperature
    # log cosh as the mean of two log-sigmoids: cosh itself overflows.
    return temperature**2 * (-0.5 * (logsigmoid(scaled) + logsigmoid(-scaled)) - math.log(2))


def binary_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """BinaryKL of each logit, in the shape of the logits."""
    student, teacher = student / temperature, teacher / temperature
    yes = torch.sigmoid(teacher) * (logsigmoid(teacher) - logsigmoid(student))
    no = torch.sigmoid(-teacher) * (logsigmoid(-teacher) - logsigmoid(-student))
    return temperature**2 * (yes + no)


def aligned(kd_gradient: Tensor, base_gradient: Tensor) -> Tensor:
    """``kd_gradient`` without its component along ``base_gradient`` where the two oppose, over the last dimension."""
    direction = normalize(base_gradient, dim=-1)
    return kd_gradient - (kd_gradient * direction).sum(dim=-1, keepdim=True).clamp(max=0) * direction


def base_gradient(batch: Batch) -> Tensor:
    """The gradient of each text's LEAF loss with respect to ``batch.hidden``, (rows, width)."""
    loss = Leaf().terms(batch)["leaf"].sum()
    return torch.autograd.grad(loss, batch.hidden, retain_graph=True, materialize_grads=True)[0]
