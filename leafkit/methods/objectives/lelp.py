"""LELP: split each class into sub-classes, along directions of the teacher's vectors that its classifier ignores.

Paper: https://arxiv.org/abs/2409.20449

    h'      = (I - W^+ W) h, the part of the teacher's vector h that the logits of its classifier W ignore
    V_c     = R times the leading principal directions of h' in class c around its mean m_c; R is a random rotation
    p(c, s) = p_T(c) softmax_s( V_c,s (h' - m_c) / (deviation_c temperature_s) )
    loss    = KL(p || q) = KL of the classes + sum_c p_T(c) KL of the sub-classes in c
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import normalize

from leafkit.methods.anchors import (
    SAMPLE,
    AnchorKind,
    Anchors,
    anchor_needs,
    check_anchor_fields,
    check_anchors,
    fit_anchors,
)
from leafkit.methods.batch import Batch
from leafkit.methods.closed_form import SAMPLE as STARTED
from leafkit.methods.closed_form import start_linear
from leafkit.methods.divergences import kl_of_logs
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.setting import Facts, Setting

Partition = Literal["principal", "random"]

# On unit vectors, a standard deviation below this is rounding: the class has no sub-classes.
SPREAD = 1e-5

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Lelp(Objective):
    """Train a second head to predict the teacher's joint distribution over classes and sub-classes.

    The second head reads the same states as the student's own head. It starts in closed form and is not exported.
    Sub-classes help most if
    there are few classes.

    ``weight``: multiplies the loss (ours 0.1, added to LEAF; paper: 1, the only loss).
    ``subclasses``: number of sub-classes of each class; 1 is plain distillation of classes (ours 4; not found in the
    paper).
    ``partition``: ``principal`` directions of the teacher's vectors (paper), or ``random`` directions, the control: a
    gain that stays comes from the number of outputs, not from the teacher's sub-classes.
    ``temperature``: divides the class logits of teacher and student, in addition to the temperature of the anchors;
    the loss is multiplied by its square (ours 1).
    ``subclass_temperature``: divides the standardised projections; small values give hard sub-classes (ours 1; not
    found in the paper).
    ``anchors``: kind of the anchors that replace the classifier (ours).
    ``count``: number of anchors; ignored with ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2409.20449"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    reconstruction: ClassVar[str] = (
        "the paper's scaling inside the sub-class softmax, number of sub-classes and sub-class temperature were not "
        "found: projections are divided by one standard deviation for each class, pooled over its directions; anchors "
        "replace the teacher's classifier; all classes share one rotation; the loss is added to LEAF"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    subclasses: int = 4
    partition: Partition = "principal"
    temperature: float = 1.0
    subclass_temperature: float = 1.0
    anchors: AnchorKind = "clusters"
    count: int = 8

    def __post_init__(self) -> None:
        checks = {
            "subclasses": (self.subclasses >= 1, "1 or more"),
            "partition": (self.partition in get_args(Partition), " or ".join(get_args(Partition))),
            "temperature": (0 < self.temperature < math.inf, "more than 0"),
            "subclass_temperature": (0 < self.subclass_temperature < math.inf, "more than 0"),
            **check_anchor_fields(self.anchors, self.count),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors, or the vectors so many sub-classes."""
        check_anchors(facts, self.anchors, self.count)
        most = facts.dim
        self.check_fields({"subclasses": (self.subclasses <= most, f"at most {most}, the teacher's vector width")})

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``anchors``, the sub-classes of each anchor, and the ``head`` that predicts both."""
        anchors = fit_anchors(setting, self.anchors, self.count)
        state = SubClasses(anchors, setting, self.subclasses, self.partition)
        rows = setting.sample(STARTED)
        logits = self.temperature * self._target(torch.from_numpy(setting.targets(rows)), state)
        # A softmax ignores the mean of the logits of a text, so the head need not learn it.
        start_linear(state.head, torch.from_numpy(setting.hidden(rows)), logits - logits.mean(dim=1, keepdim=True))
        return state

    def _target(self, teacher: Tensor, state: Any) -> Tensor:
        """Return the joint log-probabilities of the ``teacher``'s vectors, (rows, classes x subclasses)."""
        classes = state.anchors.logits(teacher) / self.temperature
        return log_joint(classes, state.projections(teacher) / self.subclass_temperature).flatten(1)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the KL divergence of each text's joint distribution from the teacher's, (rows,)."""
        target = self._target(batch.teacher.detach(), state)
        student = (state.head(batch.hidden.to(state.head.weight.dtype)) / self.temperature).log_softmax(dim=-1)
        return {"lelp": self.temperature**2 * kl_of_logs(target, student)}


class SubClasses(nn.Module):
    """The sub-classes of each anchor, fitted to the teacher's vectors, and the head that predicts them.

    ``keep`` (dim, dim) projects onto the null space of the anchors. There, ``means`` (classes, dim) and ``directions``
    (classes, subclasses, dim) describe each class. ``sharpness`` (classes,) is 1 / standard deviation, or 0 for a
    class without spread.
    """

    keep: Tensor
    means: Tensor
    directions: Tensor
    sharpness: Tensor

    def __init__(self, anchors: Anchors, setting: Setting, subclasses: int, partition: Partition) -> None:
        super().__init__()
        rows = setting.sample(SAMPLE)
        vectors = torch.from_numpy(setting.targets(rows))
        classes = anchors.classes(vectors, torch.from_numpy(setting.labels[rows]))
        keep = null_projection(anchors.centres.double())
        if (left := round(float(keep.trace()))) < subclasses:
            logger.warning("lelp: the anchors leave only %d of %d dimensions; use fewer anchors", left, len(keep))
        points, rotation = normalize(vectors.double(), dim=-1) @ keep, random_rotation(subclasses)
        parts = [split(points[classes == place], subclasses, partition) for place in range(len(anchors.centres))]
        means, directions, deviations = (torch.stack(part) for part in zip(*parts, strict=True))
        self.anchors = anchors
        self.register_buffer("keep", keep.float())
        self.register_buffer("means", means.float())
        self.register_buffer("directions", (rotation @ directions).float())
        self.register_buffer("sharpness", torch.where(deviations > SPREAD, 1 / deviations, 0.0).float())
        self.head = nn.Linear(setting.width, subclasses * len(means))

    def projections(self, vectors: Tensor) -> Tensor:
        """Return standardised projections of teacher ``vectors``, (rows, classes, subclasses) float32."""
        centred = (normalize(vectors.float(), dim=-1) @ self.keep)[:, None] - self.means
        return torch.einsum("rcd,csd->rcs", centred, self.directions) * self.sharpness[:, None]


def null_projection(weights: Tensor) -> Tensor:
    """Return the projection (dim, dim) onto the null space of ``weights`` (classes, dim)."""
    return torch.eye(weights.shape[1], dtype=weights.dtype) - torch.linalg.pinv(weights, rtol=1e-6) @ weights


def principal(points: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (dim,) of ``points``, their leading directions (count, dim) and the deviation along these."""
    centred = points - points.sum(dim=0) / max(len(points), 1)
    variances, directions = torch.linalg.eigh(centred.T @ centred / max(len(points), 1))
    return points.sum(dim=0) / max(len(points), 1), directions.T[-count:], variances[-count:].clamp(min=0).mean().sqrt()


def split(points: Tensor, count: int, partition: Partition) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, directions and deviation as `principal` does; ``partition`` says which directions."""
    mean, directions, deviation = principal(points, count)
    if partition == "random":
        # Random directions among all those in which the points vary, so that they stay where the classifier is blind.
        centred = points - mean
        mixes = torch.randn(count, len(points), dtype=points.dtype) @ centred
        if len(points) >= count:
            directions = torch.linalg.qr(mixes.T).Q.T
            deviation = (centred @ directions.T).square().mean().sqrt()
    return mean, directions, deviation


def random_rotation(count: int) -> Tensor:
    """Return an orthogonal matrix (count, count), drawn uniformly, in double precision."""
    basis, triangle = torch.linalg.qr(torch.randn(count, count, dtype=torch.float64))
    # Without this correction, the distribution depends on the signs that the decomposition happens to choose.
    return basis * triangle.diagonal().sign()


def log_joint(classes: Tensor, subclasses: Tensor) -> Tensor:
    """Return joint log-probabilities (rows, classes, subclasses) from the logits of classes and of sub-classes."""
    return classes.log_softmax(dim=-1)[:, :, None] + subclasses.log_softmax(dim=-1)
