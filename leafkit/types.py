"""Types used everywhere: roles, array types, and the protocols of encoders and teachers."""

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
    """Return ``role`` if it is ``query`` or ``document``; raise `OptionError` otherwise."""
    for known in ROLES:
        if role == known:
            return known
    raise OptionError(f"unknown role {role!r}; expected 'query' or 'document'.")


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns texts into vectors of a space: a teacher, a student, a query encoder."""

    @property
    def space(self) -> Space:
        """The space of the vectors."""
        ...

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, space.dim), float32, in the order of ``texts``.

        The encoder adds the role's prompt. The vectors have length 1 if ``space.normalised`` is true.
        """
        ...


@runtime_checkable
class Teacher(Encoder, Protocol):
    """An encoder whose vectors a student learns from."""

    @property
    def signals(self) -> frozenset[str]:
        """What a student can learn from the teacher.

        Any of ``embeddings``, ``tokens``, ``hidden``, ``attention``, ``scores``, ``online``.
        """
        ...
