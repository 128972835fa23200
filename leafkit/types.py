"""The few types that every part shares: roles, arrays and the protocols of encoders and teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.space import Space

Role = Literal["query", "document"]
ROLES: tuple[Role, ...] = ("query", "document")

Float32 = NDArray[numpy.float32]
Int64 = NDArray[numpy.int64]


def check_role(role: str) -> Role:
    """``role`` itself if it is ``query`` or ``document``; raises `OptionError` otherwise."""
    if role not in ROLES:
        raise OptionError(f"unknown role {role!r}: a text is a 'query' or a 'document'")
    return role


@runtime_checkable
class Encoder(Protocol):
    """Anything that writes vectors into a space: a teacher, a student, a query encoder."""

    @property
    def space(self) -> Space:
        """The space the vectors live in."""
        ...

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, space.dim), float32, in the order given.

        The role's prompt is added here; vectors are unit-norm where ``space.normalised`` says so.
        """
        ...


@runtime_checkable
class Teacher(Encoder, Protocol):
    """An encoder to learn from; ``signals`` names what it can give besides vectors."""

    @property
    def signals(self) -> frozenset[str]:
        """Any of ``embeddings``, ``tokens``, ``hidden``, ``attention``, ``scores``, ``online``."""
        ...
