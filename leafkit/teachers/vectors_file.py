"""The black-box teacher: a file of the only (text, vector) pairs there are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.digest import sha256_file
from leafkit.errors import DamageError, VectorError
from leafkit.space import Space
from leafkit.teachers.options import TeacherOptions, check_space_options
from leafkit.types import Float32, Role, check_role
from leafkit.vectors.check import are_unit, check_vectors, unit_rows
from leafkit.vectors.keys import KeyIndex, Keys, text_keys
from leafkit.vectors.pairs import Label, PairsFile, read_pairs

BOTH = ""  # the role under which a text without one is kept


@dataclass(frozen=True, kw_only=True)
class VectorsFileTeacher:
    """Looks texts up in the pairs of a file. ``stand_in`` tells that a student made them."""

    path: Path
    space: Space
    stand_in: bool
    scale: bool  # whether vectors are brought to length one as they are read
    index: KeyIndex
    vectors: NDArray[Any]

    signals = frozenset({"embeddings"})

    @classmethod
    def open(cls, path: Path, options: TeacherOptions) -> VectorsFileTeacher:
        """The teacher in the vectors file at ``path``.

        Raises `VectorError` for vectors that cannot be used, and for texts that come twice with other vectors.
        """
        kind = "a vectors file, which computes nothing"
        options.refuse(["compute", "teacher_batch_size", "device", "trust_remote_code"], kind=kind)
        file = read_pairs(path)
        keys, vectors = _read(file, path)
        index = KeyIndex.empty().extended(keys)
        _check_repeats(index.find(keys), vectors, path)
        unit = are_unit(vectors)
        label = _label(file, path, options, dim=vectors.shape[1], unit=unit)
        scale = label.space.normalised and (not unit or vectors.dtype == numpy.float16)
        return cls(path=path, space=label.space, stand_in=label.stand_in, scale=scale, index=index, vectors=vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """The vectors that the file has for ``texts``; raises `VectorError` naming the first it lacks.

        White space around a text does not count: no text that leafkit reads has any.
        """
        texts = [text.strip() for text in texts]
        rows = self.index.find(text_keys(texts, [check_role(role)] * len(texts)))
        rows = numpy.where(rows < 0, self.index.find(text_keys(texts, [BOTH] * len(texts))), rows)
        missing = numpy.flatnonzero(rows < 0)
        if len(missing):
            raise VectorError(
                f"{self.path} has no vector for {len(missing)} of {len(texts)} {role} texts, the first is "
                f"{texts[missing[0]][:80]!r}; embed them with the teacher and add them to the file"
            )
        vectors = self.vectors[rows].astype(numpy.float32, copy=False)
        return unit_rows(vectors) if self.scale else vectors


def _read(file: PairsFile, path: Path) -> tuple[Keys, NDArray[Any]]:
    keys: list[Keys] = []
    vectors: list[NDArray[Any]] = []
    first = 0
    for batch in file.batches:
        dim = vectors[0].shape[1] if vectors else None
        check_vectors(batch.vectors, rows=len(batch.texts), dim=dim, source=str(path), first=first)
        keys.append(text_keys(batch.texts, [role or BOTH for role in batch.roles]))
        vectors.append(batch.vectors)
        first += len(batch.texts)
    return numpy.concatenate(keys), numpy.concatenate(vectors)


def _check_repeats(found: NDArray[Any], vectors: NDArray[Any], path: Path) -> None:
    """Raise `VectorError` if a text that comes again (its key is ``found`` in an earlier row) has another vector."""
    again = numpy.flatnonzero(found != numpy.arange(len(found)))
    differs = ~numpy.isclose(vectors[again], vectors[found[again]], rtol=1e-2, atol=1e-3).all(axis=1)
    if differs.any():
        row = again[differs][0]
        raise VectorError(f"{path}: rows {found[row]} and {row} hold one text with two vectors; remove one of them")


def _label(file: PairsFile, path: Path, options: TeacherOptions, *, dim: int, unit: bool) -> Label:
    if file.label is not None and options.teacher_name is None:
        if file.label.space.dim != dim:
            raise DamageError(f"{path} holds vectors of width {dim}, its space says {file.label.space.dim}")
        check_space_options(file.label.space, options, source=str(path))
        return file.label
    digests = "".join(map(sha256_file, file.parts))
    weights = "sha256:" + (digests if len(file.parts) == 1 else hashlib.sha256(digests.encode()).hexdigest())
    space = Space(
        **options.identity(path.stem, weights),
        **options.prompts({}),
        dim=dim,
        normalised=unit if options.normalised is None else options.normalised,
        pooling=options.pooling or "unknown",
        max_length=options.max_length,
    )
    return Label(space=space)
