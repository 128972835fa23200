"""A teacher that asks its store first, so that no text is ever encoded twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leafkit.space import Space
from leafkit.types import Float32, Role, Teacher
from leafkit.vectors.store import VectorStore, check_exact


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
    check_exact(teacher)
    return CachedEncoder(teacher, VectorStore.open(cache, teacher.space, dtype=dtype))
