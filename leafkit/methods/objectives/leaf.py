"""LEAF: the student's vector is to be the teacher's vector.

Paper: https://arxiv.org/abs/2509.12539
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, get_args

from leafkit.errors import OptionError
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.options import Distance

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Leaf(Objective):
    """The distance between student and teacher vector of each text.

    ``norm`` is the Euclidean distance: the gradient of a text stays as long when its error shrinks. ``squared``
    is its square. ``cosine`` is one minus the cosine; on unit vectors ``squared`` is exactly twice it.
    The paper's readers disagree about norm or square; its published losses fit the norm.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2509.12539"
    off: ClassVar[Mapping[str, Any]] = {}  # it is what the others are compared with

    distance: Distance = "norm"

    def __post_init__(self) -> None:
        if self.distance not in get_args(Distance):
            wanted = ", ".join(get_args(Distance))
            raise OptionError(f"unknown distance {self.distance!r}: the LEAF objective knows {wanted}")

    def terms(self, batch: Batch, state: Any = None) -> dict[str, Tensor]:
        """One loss per text, shape (rows,); ``state`` is unused: LEAF remembers nothing between steps."""
        from torch import linalg
        from torch.nn.functional import cosine_similarity

        if self.distance == "cosine":
            return {"leaf": 1 - cosine_similarity(batch.student, batch.teacher, dim=-1)}
        # The norm's gradient at zero error is defined as zero by torch, so a perfect text is no NaN.
        distance = linalg.vector_norm(batch.student - batch.teacher, dim=-1)
        return {"leaf": distance if self.distance == "norm" else distance.square()}
