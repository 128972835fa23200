"""What an objective sees of one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's texts as vectors of student and teacher, in the same order.

    ``student`` and ``teacher`` are (rows, dim) float32; the teacher's carry no gradient. ``roles`` is (rows,):
    0 for queries, 1 for documents. ``rows`` is (rows,): the place of each text in the training set.
    """

    student: Tensor
    teacher: Tensor
    roles: Tensor
    rows: Tensor
