"""LEAF: the student reproduces the teacher's vector of each text.

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
    """Minimise the distance between the student's and the teacher's vector of each text.

    The paper does not say clearly whether the distance is squared; the losses that it reports fit the norm.

    ``distance``: ``norm`` is the Euclidean distance; the length of its gradient does not shrink with the error.
    ``squared`` is the square of the norm. ``cosine`` is 1 - cosine; on unit vectors ``squared`` is twice that.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2509.12539"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {}  # LEAF is the baseline of all other methods.

    distance: Distance = "norm"

    def __post_init__(self) -> None:
        if self.distance not in get_args(Distance):
            raise OptionError(f"leaf:distance is {self.distance!r}; expected {', '.join(get_args(Distance))}")

    def terms(self, batch: Batch, state: Any = None) -> dict[str, Tensor]:
        """Return the distance of each text, (rows,); ``state`` is not used."""
        from torch import linalg
        from torch.nn.functional import cosine_similarity

        if self.distance == "cosine":
            return {"leaf": 1 - cosine_similarity(batch.student, batch.teacher, dim=-1)}
        # torch defines the gradient of the norm at zero as zero, so a text without error gives no NaN.
        distance = linalg.vector_norm(batch.student - batch.teacher, dim=-1)
        return {"leaf": distance if self.distance == "norm" else distance.square()}
