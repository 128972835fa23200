"""The texts of one training step as methods see them, before and after the student's forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class View:
    """The texts of one step before the student reads them, with their target vectors.

    ``features`` are the token ids for the student's forward pass. A transformer gets ``input_ids`` and
    ``attention_mask`` of shape (rows, length). A token table gets flat ``input_ids`` and ``offsets`` (rows,), the
    position at which each text begins.

    ``teacher`` are the target vectors, (rows, dim) float32. ``roles`` (0 query, 1 document), ``rows`` (the training
    rows), ``labels`` (classes, -1 for a text without a label) and ``domains`` have the shape (rows,). ``step`` counts
    optimiser steps. Draw random numbers only from ``seed`` and ``step``, so that a resumed run repeats them.
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
    """The texts of one step as vectors of the student and the teacher, in the same order.

    ``student`` and ``teacher`` are (rows, dim) float32; no gradient flows to the teacher. ``raw`` is the student's
    vector before normalisation, (rows, dim). ``hidden`` is the input of the student's head, (rows, width). ``layers``
    is the mean token state after each layer of the student, each (rows, width); empty unless a method needs
    ``layers``. ``raw`` and ``hidden`` are None if several processes train together, which only plain LEAF can do.
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


def require_tensor(tensor: Tensor | None, name: str) -> Tensor:
    """Return ``tensor``, the field ``name`` of a `Batch`; raise `TypeError` if it is None."""
    if tensor is None:
        raise TypeError(f"this batch has no {name}; only a training in a single process provides it")
    return tensor
