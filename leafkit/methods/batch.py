"""The texts of one training step as methods see them, before and after the student's forward pass."""

from __future__ import annotations

from collections.abc import Callable
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

    ``origin`` (rows,) is the position in this step of the text that each row is a view of. It is 0, 1, 2 ... unless a
    feed adds views; they follow the given texts. ``embed`` is None, or a function that changes the token embeddings of
    a transformer student, (rows, length, width), before the first layer.
    """

    features: dict[str, Tensor]
    teacher: Tensor
    roles: Tensor
    rows: Tensor
    labels: Tensor
    domains: Tensor
    origin: Tensor
    embed: Callable[[Tensor], Tensor] | None = None
    step: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """All stages of a student's forward pass of a batch.

    ``student`` are the student's vectors and ``raw`` the same before normalisation, both (rows, dim). ``hidden`` is
    the input of the head, (rows, width). ``layers`` holds the mean token state after each layer, each (rows, width),
    ``states`` the token states after each layer, each (rows, length, width), and ``tokens`` those after the last layer;
    each only if it was asked for.
    """

    student: Tensor
    raw: Tensor
    hidden: Tensor
    layers: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    tokens: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class TokenStates:
    """The token states of student and teacher for the same tokens.

    ``student`` is (rows, length, width), with a gradient in training. ``teacher`` is (rows, length, teacher's width),
    without. ``mask`` (rows, length) is True for words: neither padding nor special tokens such as [CLS].
    """

    student: Tensor
    teacher: Tensor
    mask: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The texts of one step as vectors of the student and the teacher, in the same order.

    ``student`` and ``teacher`` are (rows, dim) float32; no gradient flows to the teacher. ``raw`` is the student's
    vector before normalisation, (rows, dim). ``hidden`` is the input of the student's head, (rows, width). ``layers``
    is the mean token state after each layer of the student, each (rows, width); empty unless a method needs
    ``layers``. ``states`` are the student's token states after each layer, special tokens and padding included, each
    (rows, length, width); empty unless a method needs ``states``. ``tokens`` are the token states of both sides; None
    unless a method needs ``tokens``.
    ``features``, ``roles``, ``rows``, ``labels``, ``domains``, ``origin``, ``step`` and ``seed`` are those of the
    `View`.
    """

    student: Tensor
    teacher: Tensor
    raw: Tensor
    hidden: Tensor
    layers: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()
    tokens: TokenStates | None = None
    features: dict[str, Tensor]
    roles: Tensor
    rows: Tensor
    labels: Tensor
    domains: Tensor
    origin: Tensor
    step: int = 0
    seed: int = 0


def require_tokens(batch: Batch) -> TokenStates:
    """Return the token states of ``batch``; raise `TypeError` if no method of the training declared their need."""
    if batch.tokens is None:
        raise TypeError("this batch has no token states; the method that reads them must need 'tokens'")
    return batch.tokens
