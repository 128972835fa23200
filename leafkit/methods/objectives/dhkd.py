"""DHKD: a second, auxiliary head learns the logit loss, so that the student's own head learns LEAF only.

Paper: https://arxiv.org/abs/2411.08937

    d = s - t, for each anchor, of the auxiliary head's logits s and the teacher's t
    BinaryKL-Norm = T^2 KL(Bernoulli(1/2) || Bernoulli(sigmoid(d / T))) = T^2 log cosh(d / (2 T))
    BinaryKL      = T^2 KL(Bernoulli(sigmoid(t / T)) || Bernoulli(sigmoid(s / T)))
    aligned: g_kd without its component along g_base if <g_kd, g_base> < 0
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import logsigmoid, normalize

from leafkit.methods.anchors import AnchorKind, Anchors, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.closed_form import SAMPLE, start_linear
from leafkit.methods.method import Objective
from leafkit.methods.objectives.leaf import Leaf

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting

Loss = Literal["binary_kl_norm", "binary_kl"]
Heads = Literal["one", "two"]


@dataclass(frozen=True, kw_only=True)
class Dhkd(Objective):
    """Train a second head to match the teacher's logits over the anchors.

    The second head reads the same states as the student's own head and starts in closed form. It is trained beside the
    student and not exported; the student's own head gets no gradient from this loss. Logits are not centred on the
    mean of each anchor, because that mean cancels in BinaryKL-Norm.

    ``weight``: multiplies the loss (ours 0.1; paper: 1 on CIFAR-100, 0.1 on ImageNet, for a sum over classes).
    ``heads``: ``two`` (paper), or ``one`` for the loss on the student's own vectors, which the paper finds harmful.
    ``loss``: ``binary_kl_norm``, the loss that the paper proposes, or ``binary_kl``, the loss that it improves on.
    ``temperature``: divides the logits in addition to the temperature of the anchors (paper: 2).
    ``units``: width of the hidden layer of the second head; 0 for a linear head (paper: 200 or linear, by pair).
    ``align``: if true, remove from each text's gradient the component that opposes the gradient of LEAF (paper:
    optional; ours off); only with two heads.
    ``anchors``: kind of the anchors that replace classes (ours).
    ``count``: number of anchors; ignored with ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2411.08937"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    reconstruction: ClassVar[str] = (
        "LEAF replaces cross-entropy on the first head; the second head writes a vector, whose logits are those with "
        "the anchors; the loss is the mean over the anchors, not the sum; the hidden layer has no dropout and no batch "
        "normalisation, which would make a text's loss depend on its batch; gradients are aligned for each text at the "
        "representation that both heads share, not over all parameters at once; there is no gradient clipping, and the "
        "loss is not switched off halfway"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    heads: Heads = "two"
    loss: Loss = "binary_kl_norm"
    temperature: float = 2.0
    units: int = 200
    align: bool = False
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        checks = {
            "heads": (self.heads in get_args(Heads), "one or two"),
            "align": (not self.align or self.heads == "two", "false with heads=one"),
            "loss": (self.loss in get_args(Loss), " or ".join(get_args(Loss))),
            "temperature": (0 < self.temperature < math.inf, "more than 0"),
            "units": (self.units >= 0, "0 for a linear head, or more"),
            **check_anchor_fields(self.anchors, self.count),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``anchors`` with the second ``head``, which writes vectors in the teacher's space."""
        anchors = fit_anchors(setting, self.anchors, self.count)
        state = Auxiliary(anchors, setting.width, self.units, setting.dim if self.heads == "two" else 0)
        if self.heads == "two":
            rows = setting.sample(SAMPLE)
            state.start(torch.from_numpy(setting.hidden(rows)), torch.from_numpy(setting.targets(rows)))
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the divergence of each text, averaged over the anchors, (rows,)."""
        divergence = binary_kl_norm if self.loss == "binary_kl_norm" else binary_kl
        teacher = state.anchors.logits(batch.teacher.detach())
        student = state.anchors.logits(batch.student) if self.heads == "one" else self._second(batch, state)
        return {"dhkd": divergence(student, teacher, self.temperature).mean(dim=-1)}

    def _second(self, batch: Batch, state: Any) -> Tensor:
        """Return the logits of the second head, (rows, count)."""
        hidden = batch.hidden
        if self.align and hidden.requires_grad:
            base = base_gradient(batch)
            # A separate graph node, so that the hook sees the gradient of this loss only.
            hidden = hidden.view_as(hidden)
            hidden.register_hook(lambda gradient: aligned(gradient, base))
        return state.logits(hidden)


class Auxiliary(nn.Module):
    """The ``anchors`` and the second head: a ``last`` linear layer after ``first``, a layer of ``units`` or nothing.

    With ``dim`` 0 there is no second head.
    """

    def __init__(self, anchors: Anchors, width: int, units: int, dim: int) -> None:
        super().__init__()
        self.anchors = anchors
        if dim:
            self.first = nn.Sequential(nn.Linear(width, units), nn.ReLU()) if units else nn.Identity()
            self.last = nn.Linear(units or width, dim)

    def start(self, hidden: Tensor, targets: Tensor) -> None:
        """Start the last layer at its ridge solution from ``hidden`` (texts, width) to ``targets`` (texts, dim)."""
        with torch.no_grad():
            start_linear(self.last, self.first(hidden), targets)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of the second head for ``hidden``, (rows, count), in the precision of its weights."""
        return self.anchors.logits(self.last(self.first(hidden.to(self.last.weight.dtype))))


def binary_kl_norm(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return BinaryKL-Norm of each logit, in the shape of the logits: a smooth L1 distance, 0 only at equality."""
    scaled = (student - teacher) / temperature
    # log cosh is computed as the mean of two log-sigmoids, because cosh overflows.
    return temperature**2 * (-0.5 * (logsigmoid(scaled) + logsigmoid(-scaled)) - math.log(2))


def binary_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return BinaryKL of each logit, in the shape of the logits."""
    student, teacher = student / temperature, teacher / temperature
    yes = torch.sigmoid(teacher) * (logsigmoid(teacher) - logsigmoid(student))
    no = torch.sigmoid(-teacher) * (logsigmoid(-teacher) - logsigmoid(-student))
    return temperature**2 * (yes + no)


def aligned(kd_gradient: Tensor, base_gradient: Tensor) -> Tensor:
    """Return ``kd_gradient`` without its component along ``base_gradient``, for each row whose gradients oppose."""
    direction = normalize(base_gradient, dim=-1)
    return kd_gradient - (kd_gradient * direction).sum(dim=-1, keepdim=True).clamp(max=0) * direction


def base_gradient(batch: Batch) -> Tensor:
    """Return the gradient of each text's LEAF loss with respect to ``batch.hidden``, (rows, width)."""
    loss, hidden = Leaf().terms(batch)["leaf"].sum(), batch.hidden
    return torch.autograd.grad([loss], [hidden], retain_graph=True, materialize_grads=True)[0]
