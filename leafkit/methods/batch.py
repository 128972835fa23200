"""What a method sees of one step, before and after the student's forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class View:
    """One step's texts before the student reads them, and the vectors it is to write.

    ``features`` are token ids as the student's forward takes them: (rows, length) ``input_ids`` with
    ``attention_mask``, or for a token table flat ``input_ids`` with the (rows,) ``offsets`` where each text begins.
    ``teacher`` is (rows, dim) float32. ``roles`` (0 for queries, 1 for documents), ``rows`` (places in the training
    set), ``labels`` (classes, -1 where a text has none) and ``domains`` are (rows,). ``step`` counts optimiser
    steps; whatever is drawn at random is drawn from ``seed`` and ``step``, so that a resumed run draws the same.
    """

    features: dict[str, Tensor]
    teacher: Tensor
    roles: Tensor
    rows: Tensor
    labels: Tensor
    domains: Tensor
    step: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's texts as vectors of student and teacher, in the same order.

    ``student`` and ``teacher`` are (rows, dim) float32; the teacher's carry no gradient. ``raw`` is the student's
    vector before it is normalised, (rows, dim); ``hidden`` is what its head sees, (rows, width); ``layers`` is the
    mean token state after each of its layers, each (rows, width), where a method needs ``layers``, else empty.
    ``roles``, ``rows``, ``labels``, ``domains``, ``step`` and ``seed`` are those of the `View`.
    """

    student: Tensor
    teacher: Tensor
    roles: Tensor
    rows: Tensor
    raw: Tensor | None = None
    hidden: Tensor | None = None
    layers: tuple[Tensor, ...] = ()
    labels: Tensor | None = None
    domains: Tensor | None = None
    step: int = 0
    seed: int = 0
