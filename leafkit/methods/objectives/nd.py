"""ND: pull the student's vector towards the mean direction of the text's class and towards the teacher's norm.

Paper: https://arxiv.org/abs/2305.17007

    ND = 1 - <s, e_c> / max(||s||, ||t||), where e_c is the unit direction of the teacher's mean of class c
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from leafkit.methods.anchors import anchor_needs, check_anchors, fit_anchors
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting

Classes = Literal["clusters", "labels"]


@dataclass(frozen=True, kw_only=True)
class Nd(Objective):
    """Pull the student's vector, before normalisation, to the direction of its class and to the teacher's norm.

    For a teacher with unit vectors, the loss is 1 - cosine with the class direction, and it lengthens student vectors
    that are shorter than 1. If the student ends with a normalisation, its users never see that length. Large weights
    collapse each class to one point, which hurts retrieval and similarity within a class: check both.

    ``weight``: multiplies the loss (paper: 0.5 to 2 on classes; ours 0.1, because retrieval needs the differences
    within a class).
    ``anchors``: where the classes come from: ``labels`` of the texts, or ``clusters`` of the teacher's vectors (ours).
    ``count``: number of clusters; ignored with ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2305.17007"
    elicits: ClassVar[tuple[str, ...]] = ("feature",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    reconstruction: ClassVar[str] = (
        "LEAF replaces KD++'s cross-entropy and warmed-up logit loss; the student's own head is the embedding "
        "transform; class means are taken over unit teacher vectors; a text without a label belongs to the anchor "
        "nearest to its teacher vector"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    anchors: Classes = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        self.check_fields(
            {
                "anchors": (self.anchors in get_args(Classes), " or ".join(get_args(Classes))),
                "count": (self.count >= 2, "2 or more anchors"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The labels of the texts, for ``anchors=labels``."""
        return anchor_needs(self.anchors)

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the anchors; their centres are the directions of the classes."""
        return fit_anchors(setting, self.anchors, self.count)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the ND loss of each text, (rows,)."""
        directions = state.centres[state.classes(batch.teacher, batch.labels)]
        return {"nd": norm_and_direction(batch.raw, batch.teacher, directions)}


def norm_and_direction(student: Tensor, teacher: Tensor, directions: Tensor) -> Tensor:
    """Return the ND loss of each row, 0 to 2, in float32 or better; only ``student`` gets a gradient."""
    import torch
    from torch.linalg import vector_norm

    wide = student if student.dtype == torch.float64 else student.float()
    teacher, directions = teacher.detach().to(wide.dtype), directions.detach().to(wide.dtype)
    longer = torch.maximum(vector_norm(wide, dim=-1), vector_norm(teacher, dim=-1))
    # Two zero vectors have no direction. Their loss is 1, the same as that of orthogonal vectors.
    return 1 - (wide * directions).sum(dim=-1) / longer.clamp(min=torch.finfo(wide.dtype).tiny)
