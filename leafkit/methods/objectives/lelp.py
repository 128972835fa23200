"""LELP: classes are cut into sub-classes along what the teacher's vectors say beyond the class.

Paper: https://arxiv.org/abs/2409.20449

    h'      = (I - W^+ W) h, of the teacher's vector h and the classifier W: what its logits do not carry
    V_c     = R times the leading principal directions of h' in class c, about its mean m_c; R a random rotation
    p(c, s) = p_T(c) softmax_s( V_c,s (h' - m_c) / (deviation_c temperature_s) )
    loss    = KL(p || q) = KL of the classes + sum_c p_T(c) KL of the sub-classes in c
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import torch
from torch import nn
from torch.nn.functional import kl_div, normalize

from leafkit.errors import OptionError
from leafkit.methods.anchors import SAMPLE, AnchorKind, Anchors, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.setting import Setting

# A spread below this, on unit vectors, is rounding: the class has no sub-classes there.
SPREAD = 1e-5

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Lelp(Objective):
    """A second head, thrown away with the run, predicts class and sub-class of each text at once, as the teacher does.

    It sees what the shipped head sees. Sub-classes help where classes are few.

    ``weight``: multiplies the loss (paper: 1, the only loss; ours 0.1 as an addition to LEAF).
    ``subclasses``: parts of a class, 1 for plain distillation of classes (paper: not found; ours 4).
    ``temperature``: divides the teacher's class logits, cosines over the anchors' own temperature, and the student's
    logits; the loss is multiplied by its square (ours 1).
    ``subclass_temperature``: divides the standardised projections; small for hard parts (paper: not found; ours 1).
    ``anchors``, ``count``: the kind of anchors that stand for the classifier, and how many unless by labels (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2409.20449"
    reconstruction: ClassVar[str] = (
        "the scaling inside the sub-class softmax was not found: projections are divided by one deviation a class, "
        "pooled over its directions; so were the number of sub-classes and their temperature; anchors stand for the "
        "teacher's classifier; one rotation serves all classes; it is added to LEAF on the same student"
    )

    weight: float = 0.1
    subclasses: int = 4
    temperature: float = 1.0
    subclass_temperature: float = 1.0
    anchors: AnchorKind = "clusters"
    count: int = 8

    def __post_init__(self) -> None:
        wanted = {
            "subclasses": (self.subclasses >= 1, "1 or more"),
            "temperature": (0 < self.temperature < math.inf, "more than 0"),
            "subclass_temperature": (0 < self.subclass_temperature < math.inf, "more than 0"),
            "anchors": (self.anchors in get_args(AnchorKind), ", ".join(get_args(AnchorKind))),
            "count": (self.count >= 2, "2 or more anchors"),
        }
        self.check_fields(wanted)

    def build(self, setting: Setting) -> nn.Module:
        """``anchors``, the sub-classes of each, and the ``head`` that predicts both."""
        if self.subclasses > setting.dim:
            raise OptionError(f"lelp:subclasses is {self.subclasses}; wanted at most the teacher's {setting.dim}")
        return SubClasses(fit_anchors(setting, self.anchors, self.count), setting, self.subclasses)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """The divergence of each text's joint distribution from the teacher's, (rows,)."""
        teacher = batch.teacher.detach()
        classes = state.anchors.logits(teacher) / self.temperature
        target = log_joint(classes, state.projections(teacher) / self.subclass_temperature).flatten(1)
        student = (state.head(batch.hidden.to(state.head.weight.dtype)) / self.temperature).log_softmax(dim=-1)
        return {"lelp": self.temperature**2 * kl_div(student, target, reduction="none", log_target=True).sum(dim=-1)}


class SubClasses(nn.Module):
    """``directions`` (classes, subclasses, dim) about ``means`` (classes, dim) in the null space of the anchors.

    ``keep`` (dim, dim) projects onto it; ``sharpness`` (classes,) is one over the deviation, 0 where there is none.
    """

    keep: Tensor
    means: Tensor
    directions: Tensor
    sharpness: Tensor

    def __init__(self, anchors: Anchors, setting: Setting, subclasses: int) -> None:
        super().__init__()
        rows = setting.sample(SAMPLE)
        vectors = torch.from_numpy(setting.targets(rows))
        facts = {name: torch.from_numpy(getattr(setting, name)[rows]) for name in ("roles", "labels")}
        classes = anchors.classes(Batch(student=vectors, teacher=vectors, rows=torch.from_numpy(rows), **facts))
        keep = null_projection(anchors.centres.double())
        if (left := round(float(keep.trace()))) < subclasses:
            logger.warning("lelp: the anchors leave %d of %d dimensions; wanted fewer anchors", left, len(keep))
        points, rotation = normalize(vectors.double(), dim=-1) @ keep, random_rotation(subclasses)
        parts = [principal(points[classes == place], subclasses) for place in range(len(anchors.centres))]
        means, directions, deviations = (torch.stack(part) for part in zip(*parts, strict=True))
        self.anchors = anchors
        self.register_buffer("keep", keep.float())
        self.register_buffer("means", means.float())
        self.register_buffer("directions", (rotation @ directions).float())
        self.register_buffer("sharpness", torch.where(deviations > SPREAD, 1 / deviations, 0.0).float())
        self.head = nn.Linear(setting.width, subclasses * len(means))

    def projections(self, vectors: Tensor) -> Tensor:
        """Standardised projections of teacher ``vectors`` on all directions of all classes, float32."""
        centred = (normalize(vectors.float(), dim=-1) @ self.keep)[:, None] - self.means
        return torch.einsum("rcd,csd->rcs", centred, self.directions) * self.sharpness[:, None]


def null_projection(weights: Tensor) -> Tensor:
    """The projection (dim, dim) onto what ``weights`` (classes, dim) send to zero."""
    return torch.eye(weights.shape[1], dtype=weights.dtype) - torch.linalg.pinv(weights, rtol=1e-6) @ weights


def principal(points: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (dim,) of ``points``, their ``count`` leading directions (count, dim), and the deviation along these."""
    centred = points - points.sum(dim=0) / max(len(points), 1)
    variances, directions = torch.linalg.eigh(centred.T @ centred / max(len(points), 1))
    return points.sum(dim=0) / max(len(points), 1), directions.T[-count:], variances[-count:].clamp(min=0).mean().sqrt()


def random_rotation(count: int) -> Tensor:
    """An orthogonal matrix (count, count) drawn evenly from all, in double precision."""
    basis, triangle = torch.linalg.qr(torch.randn(count, count, dtype=torch.float64))
    # Without the signs, the draw depends on how the decomposition chooses them.
    return basis * triangle.diagonal().sign()


def log_joint(classes: Tensor, subclasses: Tensor) -> Tensor:
    """Log-probabilities (rows, classes, subclasses) of logits of classes (rows, classes) and of the parts of each."""
    return classes.log_softmax(dim=-1)[:, :, None] + subclasses.log_softmax(dim=-1)
