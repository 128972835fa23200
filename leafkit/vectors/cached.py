"""A teacher that asks its store first, so that no text is ever encoded twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leafkit.errors import OptionError
from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.store import VectorStore


@dataclass(frozen=True)
class CachedEncoder:
    """``teacher`` seen through ``store``: the same space and signals; vectors as the store keeps them."""

    teacher: Teacher
    store: VectorStore

    @property
    def space(self) -> Space:
        """The teacher's space."""
        return self.teacher.space

    @property
    def signals(self) -> frozenset[str]:
        """What the teacher can give."""
        return self.teacher.signals

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts`` from the store, after the teacher has encoded those it lacks."""
        return self.store.gather(self.store.fill(self.teacher, texts, role))


def cached(teacher: Teacher, cache: Path | None, *, dtype: str = "float16") -> CachedEncoder:
    """``teacher`` behind its store below ``cache`` (the user's cache if None).

    Raises `OptionError` for a student: its vectors live in the teacher's space but are not the teacher's.
    """
    if isinstance(teacher, CachedEncoder):
        return teacher
    if not keeps_its_space(teacher):
        raise OptionError("a student's vectors cannot be kept as its teacher's; open the teacher itself")
    return CachedEncoder(teacher, VectorStore.open(cache, teacher.space, dtype=dtype))


def keeps_its_space(encoder: Encoder) -> bool:
    """Whether the vectors are those that define the space; a student's (``stand_in``) only come near them."""
    return not getattr(encoder, "stand_in", False)
