"""A teacher with a cache on disk, so that no text is ever encoded twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.adopted import exact_teacher
from leafkit.vectors.store import VectorStore, check_exact, is_exact


@dataclass(frozen=True)
class CachedEncoder:
    """``teacher`` with ``store`` as its cache. Vectors have the precision of the store."""

    teacher: Teacher
    store: VectorStore

    @property
    def space(self) -> Space:
        """The teacher's space."""
        return self.teacher.space

    @property
    def signals(self) -> frozenset[str]:
        """What a student can learn from the teacher."""
        return self.teacher.signals

    def encode(self, texts: Sequence[str], role: Role, *, label: str = "teacher") -> Float32:
        """Return the vectors of ``texts``, (rows, dim): the teacher encodes missing texts, the store returns all.

        label: the label of the progress bar.
        """
        return self.store.gather(self.store.fill(self.teacher, texts, role, label=label))


def cached(teacher: Teacher, cache: Path | None, *, dtype: str = "float16") -> CachedEncoder:
    """Return ``teacher`` with a cache in the folder ``cache`` (None: the user's default cache).

    The cache is that of the teacher's own space, even if the teacher was adopted into another space. Raises
    `OptionError` for a student, whose vectors only approximate those of the teacher.
    """
    if isinstance(teacher, CachedEncoder):
        return teacher
    check_exact(teacher)
    return CachedEncoder(teacher, VectorStore.open(cache, exact_teacher(teacher).space, dtype=dtype))


def is_cacheable(encoder: Encoder) -> TypeGuard[Teacher]:
    """Tell whether to cache the vectors: not those of a student, nor those of a file, which are on disk already."""
    return isinstance(encoder, Teacher) and "online" in encoder.signals and is_exact(encoder)
