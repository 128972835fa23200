"""ND: the student's vector is to be as long as the teacher's, and to point to the mean of its class.

Paper: https://arxiv.org/abs/2305.17007

    ND = 1 - <s, e_c> / max(||s||, ||t||), e_c the unit direction of the teacher's mean of class c
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from leafkit.methods.anchors import fit_anchors
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Setting

Classes = Literal["clusters", "labels"]


@dataclass(frozen=True, kw_only=True)
class Nd(Objective):
    """The student's vector before normalisation is drawn to its class's direction and out to the teacher's norm.

    Where the teacher writes unit vectors this is one minus the cosine with the class direction, and a push of
    shorter student vectors to length 1; where the student is normalised, its length reaches nobody who uses it.
    Strong weights fold a class into one point: retrieval and similarity within it suffer, so watch both.

    ``weight``: multiplies the loss (paper: 0.5 to 2 on classes; ours 0.1, since retrieval needs what is in a class).
    ``anchors``: where the classes come from, ``labels`` of the texts or ``clusters`` of the teacher's vectors (ours).
    ``count``: how many clusters; unused with labels (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2305.17007"
    reconstruction: ClassVar[str] = (
        "LEAF takes the place of KD++'s cross-entropy and warmed-up logit loss; the student's own head is the "
        "embedding transform; class means are of unit teacher vectors, and a text without a label belongs to the "
        "anchor nearest to its teacher vector"
    )

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

    def build(self, setting: Setting) -> nn.Module:
        """The anchors, whose centres are the directions of the classes."""
        return fit_anchors(setting, self.anchors, self.count)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """One ND loss per text, (rows,)."""
        directions = state.centres[state.classes(batch)]
        return {"nd": norm_and_direction(batch.raw, batch.teacher, directions)}


def norm_and_direction(student: Tensor, teacher: Tensor, directions: Tensor) -> Tensor:
    """The ND loss of each row, 0 to 2, float32 or better; the gradient goes to ``student`` alone."""
    import torch
    from torch.linalg import vector_norm

    wide = student if student.dtype == torch.float64 else student.float()
    teacher, directions = teacher.detach().to(wide.dtype), directions.detach().to(wide.dtype)
    longer = torch.maximum(vector_norm(wide, dim=-1), vector_norm(teacher, dim=-1))
    # Two zero vectors have no direction; they cost 1, as orthogonal ones do.
    return 1 - (wide * directions).sum(dim=-1) / longer.clamp(min=torch.finfo(wide.dtype).tiny)
