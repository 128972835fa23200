"""The black-box teacher: a file of the only (text, vector) pairs there are."""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError, VectorError
from leafkit.files.digest import sha256_file
from leafkit.space import Space
from leafkit.teachers.options import TeacherOptions, check_space_options
from leafkit.types import Float32, Role, check_role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import are_unit, unit_rows
from leafkit.vectors.keys import KeyIndex, Keys, text_keys
from leafkit.vectors.vectors_file import open_vectors_file
from leafkit.vectors.vectors_file_types import BATCH, SpaceLabel, VectorsFile

BOTH = ""  # the role under which a text without one is kept


@dataclass(frozen=True, kw_only=True)
class VectorsFileTeacher:
    """Looks texts up in the pairs of a file. ``approximate`` tells that a student made them."""

    path: Path
    space: Space
    approximate: bool
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
        options.refuse(["compute", "teacher_batch_size", "trust_remote_code"], kind=kind)
        file = open_vectors_file(path)
        found = _read(file)
        index = KeyIndex.empty().extended(found.keys)
        _check_repeats(index.find(found.keys), found)
        vectors, unit = found.vectors, found.unit
        label = _label(file, path, options, dim=vectors.shape[1], unit=unit)
        scale = label.space.normalised and (not unit or vectors.dtype == numpy.float16)
        return cls(
            path=path, space=label.space, approximate=label.approximate, scale=scale, index=index, vectors=vectors
        )

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


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """All rows of a vectors file; ``starts`` are the first of each batch, with its file and the row in it."""

    keys: Keys
    vectors: NDArray[Any]
    unit: bool
    starts: list[tuple[int, Path, int]]

    def place(self, row: int) -> tuple[Path, int]:
        """The file that holds ``row``, and which of its rows that is."""
        start, path, first = self.starts[bisect(self.starts, row, key=lambda start: start[0]) - 1]
        return path, first + row - start


def _read(file: VectorsFile) -> _Rows:
    keys: list[Keys] = []
    starts: list[tuple[int, Path, int]] = []
    vectors, unit, row = numpy.empty((0, 0)), True, 0
    for batch in file.batches:
        dim = vectors.shape[1] if starts else None
        check_vectors(batch.vectors, rows=len(batch.texts), dim=dim, source=str(batch.path), first=batch.first)
        if not starts:
            # Filled in place: a list of batches put together would take the memory twice.
            vectors = numpy.empty((file.rows, batch.vectors.shape[1]), dtype=batch.vectors.dtype)
        elif vectors.dtype != batch.vectors.dtype:
            vectors = vectors.astype(numpy.float32, copy=False)
        starts.append((row, batch.path, batch.first))
        keys.append(text_keys(batch.texts, [role or BOTH for role in batch.roles]))
        vectors[row : row + len(batch.texts)] = batch.vectors
        unit = unit and are_unit(batch.vectors)
        row += len(batch.texts)
    return _Rows(keys=numpy.concatenate(keys), vectors=vectors, unit=unit, starts=starts)


def _check_repeats(found: NDArray[Any], rows: _Rows) -> None:
    """Raise `VectorError` if a text that comes again (its key is ``found`` in an earlier row) has another vector."""
    again = numpy.flatnonzero(found != numpy.arange(len(found)))
    differing: list[int] = []
    for start in range(0, len(again), BATCH):
        later = again[start : start + BATCH]
        near = numpy.isclose(rows.vectors[later], rows.vectors[found[later]], rtol=1e-2, atol=1e-3)
        differing += later[~near.all(axis=1)].tolist()
    if differing:
        (path, first), (other, row) = rows.place(int(found[differing[0]])), rows.place(differing[0])
        twice = f"{path}: rows {first} and {row}" if path == other else f"{path}: row {first} and row {row} of {other}"
        more = f" ({len(differing) - 1:,} more rows do so)" if len(differing) > 1 else ""
        raise VectorError(
            f"{twice} hold one text with two vectors{more}; keep one of them (white space around a text does not count)"
        )


def _label(file: VectorsFile, path: Path, options: TeacherOptions, *, dim: int, unit: bool) -> SpaceLabel:
    if file.label is not None and options.teacher_name is None:
        if file.label.space.dim != dim:
            raise DamageError(f"{path} holds vectors of width {dim}, its space says {file.label.space.dim}")
        check_space_options(file.label.space, options, source=str(path))
        return file.label
    digests = "".join(map(sha256_file, file.parts))
    weights = "sha256:" + (digests if len(file.parts) == 1 else hashlib.sha256(digests.encode()).hexdigest())
    space = Space(
        **options.identity(path.resolve().name if path.is_dir() else path.stem, weights),
        **options.prompts({}),
        dim=dim,
        normalised=unit if options.normalised is None else options.normalised,
        pooling=options.pooling or "unknown",
        max_length=options.max_length,
    )
    return SpaceLabel(space=space)
