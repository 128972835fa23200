"""A teacher that belongs to a space with another id, because it writes the vectors of that space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.fingerprint import Fingerprint


@dataclass(frozen=True)
class AdoptedTeacher:
    """``teacher`` as a teacher of ``space``.

    Its vectors are still cached under the teacher's own exact space, so that copies of a model never share a cache.

    fingerprint: the recorded fingerprint of ``space``, or None if there is none.
    approximate: whether a student, not the teacher, made the vectors.
    """

    teacher: Teacher
    space: Space
    fingerprint: Fingerprint | None = None
    approximate: bool = False

    @property
    def signals(self) -> frozenset[str]:
        """What a student can learn from the teacher."""
        return self.teacher.signals

    @property
    def model(self) -> object:
        """The teacher's sentence-transformers model, whose layers a student can copy, or None."""
        return getattr(self.teacher, "model", None)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim), float32, in the order of ``texts``."""
        return self.teacher.encode(texts, role)


@dataclass(frozen=True)
class AdoptedSpace:
    """The space into which a teacher was adopted, and its recorded fingerprint, if there is one."""

    space: Space
    fingerprint: Fingerprint | None


def adopted_space(encoder: Encoder) -> AdoptedSpace | None:
    """Return the space into which ``encoder`` was adopted, or None for a teacher in its own space."""
    adopted = isinstance(encoder, AdoptedTeacher)
    return AdoptedSpace(encoder.space, encoder.fingerprint) if adopted else None


@overload
def exact_teacher(encoder: Teacher) -> Teacher: ...


@overload
def exact_teacher(encoder: Encoder) -> Encoder: ...


def exact_teacher(encoder: Encoder) -> Encoder:
    """Return the teacher inside an `AdoptedTeacher`, whose space is exactly its own; return others unchanged."""
    return encoder.teacher if isinstance(encoder, AdoptedTeacher) else encoder
