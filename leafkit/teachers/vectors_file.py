"""A teacher that is a vectors file: the vectors of a fixed set of texts, from any model, even one behind an API."""

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
from leafkit.files.digest import sha256_file, text_key
from leafkit.space import Space
from leafkit.teachers.options import TeacherOptions, check_space_options
from leafkit.types import Float32, Int64, Role, check_role
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import are_unit, unit_rows
from leafkit.vectors.keys import KeyIndex, Keys, text_keys
from leafkit.vectors.vectors_file import open_vectors_file
from leafkit.vectors.vectors_file_types import BATCH, PairBatch, SpaceLabel, VectorsFile

ANY_ROLE = ""  # the role in the key of a text that is valid for both roles
SAMPLE, LONGEST = 32, 8192  # the texts of a fingerprint, and the characters of the longest


@dataclass(frozen=True, kw_only=True)
class VectorsFileTeacher:
    """Looks up the vectors of texts in a vectors file.

    approximate: whether a student made the vectors.
    scale: whether `encode` scales vectors to length 1.
    index: the row of each text in ``vectors``.
    vectors: shape (rows, dim), float16 or float32.
    """

    path: Path
    space: Space
    approximate: bool
    scale: bool
    index: KeyIndex
    vectors: NDArray[Any]

    signals = frozenset({"embeddings"})

    @classmethod
    def open(cls, path: Path, options: TeacherOptions) -> VectorsFileTeacher:
        """Open the vectors file at ``path`` as a teacher.

        Raises `VectorError` for vectors that cannot be used, and for a text that occurs twice with different vectors.
        """
        kind = "a vectors file, whose vectors are computed already"
        options.refuse(["compute", "teacher_batch_size", "trust_remote_code"], kind=kind)
        file = open_vectors_file(path)
        rows = _read_rows(file)
        index = KeyIndex.empty().extended(rows.keys)
        _check_repeats(index.find(rows.keys), rows)
        vectors, unit = rows.vectors, rows.unit
        label = _label(file, path, options, dim=vectors.shape[1], unit=unit)
        scale = label.space.normalised and (not unit or vectors.dtype == numpy.float16)
        return cls(
            path=path, space=label.space, approximate=label.approximate, scale=scale, index=index, vectors=vectors
        )

    def __len__(self) -> int:
        return len(self.vectors)

    def holds(self, texts: Sequence[str], role: Role) -> NDArray[numpy.bool_]:
        """Tell for each text whether the file has a vector for it in ``role``, shape (texts,)."""
        return self._rows([text.strip() for text in texts], role) >= 0

    def sample_texts(self) -> list[tuple[str, Role]]:
        """Return up to 32 texts of the file with their roles, the same on every call and spread over the whole file.

        Half of them are of each role if the file has both. A text without a role counts as a document, and texts of
        more than 8,192 characters are left out. The file is read again.
        """
        return sample_of(self.path)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, (rows, dim), float32; raise `VectorError` naming the first missing text.

        White space around a text is ignored, because texts that leafkit reads have none.
        """
        texts = [text.strip() for text in texts]
        rows = self._rows(texts, role)
        missing = numpy.flatnonzero(rows < 0)
        if len(missing):
            raise missing_texts(self.path, [texts[row] for row in missing], len(texts), role)
        vectors = self.vectors[rows].astype(numpy.float32, copy=False)
        return unit_rows(vectors) if self.scale else vectors

    def _rows(self, texts: Sequence[str], role: Role) -> Int64:
        rows = self.index.find(text_keys(texts, [check_role(role)] * len(texts)))
        return numpy.where(rows < 0, self.index.find(text_keys(texts, [ANY_ROLE] * len(texts))), rows)


def sample_of(path: Path) -> list[tuple[str, Role]]:
    """Return the texts of `VectorsFileTeacher.sample_texts` for the vectors file at ``path``."""
    lowest: dict[Role, dict[bytes, str]] = {}
    for batch in open_vectors_file(path).batches:
        for text, role in zip(batch.texts, batch.roles, strict=True):
            if len(text) <= LONGEST:
                lowest.setdefault(role or "document", {})[text_key(role or "document", text)] = text
        for kept in lowest.values():
            for key in sorted(kept)[SAMPLE:]:
                del kept[key]
    each = SAMPLE // max(1, len(lowest))
    return [(kept[key], role) for role, kept in sorted(lowest.items()) for key in sorted(kept)[:each]]


def missing_texts(path: Path, missing: Sequence[str], asked: int, role: Role) -> VectorError:
    """Return the error for the ``missing`` out of ``asked`` texts, of which the file at ``path`` has no vectors."""
    return VectorError(
        f"{path} has no vector for {len(missing)} of {asked} {role} texts. The first is "
        f"{missing[0][:80]!r}. Embed the missing texts with the teacher and add them to the file."
    )


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """All rows of a vectors file.

    keys: the key of each text, shape (rows, 2).
    vectors: shape (rows, dim).
    unit: whether all vectors have length 1.
    starts: for each batch its first row, the file of the batch, and the number of its first row in that file.
    """

    keys: Keys
    vectors: NDArray[Any]
    unit: bool
    starts: list[tuple[int, Path, int]]

    def place(self, row: int) -> tuple[Path, int]:
        """Return the file of ``row`` and the number of the row in that file."""
        start, path, first = self.starts[bisect(self.starts, row, key=lambda start: start[0]) - 1]
        return path, first + row - start


def _read_rows(file: VectorsFile) -> _Rows:
    keys: list[Keys] = []
    starts: list[tuple[int, Path, int]] = []
    vectors, unit, row = numpy.empty((0, 0)), True, 0
    for batch in file.batches:
        dim = vectors.shape[1] if starts else None
        check_vectors(batch.vectors, rows=len(batch.texts), dim=dim, source=str(batch.path), first=batch.first)
        if not starts:
            # Filled in place: concatenating a list of batches would need twice the memory.
            vectors = _empty(file, batch)
        elif vectors.dtype != batch.vectors.dtype:
            vectors = vectors.astype(numpy.float32, copy=False)
        starts.append((row, batch.path, batch.first))
        keys.append(text_keys(batch.texts, [role or ANY_ROLE for role in batch.roles]))
        vectors[row : row + len(batch.texts)] = batch.vectors
        unit = unit and are_unit(batch.vectors)
        row += len(batch.texts)
    return _Rows(keys=numpy.concatenate(keys), vectors=vectors, unit=unit, starts=starts)


def _empty(file: VectorsFile, first: PairBatch) -> NDArray[Any]:
    """Return room for all vectors of ``file``; raise `VectorError` for more than fit into memory."""
    try:
        return numpy.empty((file.rows, first.vectors.shape[1]), dtype=first.vectors.dtype)
    except (MemoryError, ValueError) as error:
        raise VectorError(
            f"{first.path} records {file.rows} rows of width {first.vectors.shape[1]}, which do not fit into memory. "
            "If it has fewer rows, write the file again."
        ) from error


def _check_repeats(first_rows: Int64, rows: _Rows) -> None:
    """Raise `VectorError` if a repeated text has different vectors; ``first_rows`` is the first row of each text."""
    again = numpy.flatnonzero(first_rows != numpy.arange(len(first_rows)))
    differing: list[int] = []
    for start in range(0, len(again), BATCH):
        later = again[start : start + BATCH]
        near = numpy.isclose(rows.vectors[later], rows.vectors[first_rows[later]], rtol=1e-2, atol=1e-3)
        differing += later[~near.all(axis=1)].tolist()
    if differing:
        (path, first), (other, row) = rows.place(int(first_rows[differing[0]])), rows.place(differing[0])
        pair = f"{path}: rows {first} and {row}" if path == other else f"{path}: row {first} and row {row} of {other}"
        more = f" ({len(differing) - 1:,} more such rows)" if len(differing) > 1 else ""
        raise VectorError(
            f"{pair} hold the same text with different vectors{more}. Keep one of them. "
            "(White space around a text is ignored.)"
        )


def _label(file: VectorsFile, path: Path, options: TeacherOptions, *, dim: int, unit: bool) -> SpaceLabel:
    if file.label is not None and options.teacher_name is None:
        if file.label.space.dim != dim:
            raise DamageError(
                f"{path} holds vectors of width {dim}, but records the width {file.label.space.dim}. "
                "Write the file again."
            )
        check_space_options(file.label.space, options, source=str(path))
        return file.label
    space = Space(
        **options.identity(path.resolve().name if path.is_dir() else path.stem, _content_hash(file)),
        **options.prompts({}),
        dim=dim,
        normalised=unit if options.normalised is None else options.normalised,
        pooling=options.pooling or "unknown",
        max_length=options.max_length,
    )
    return SpaceLabel(space=space)


def identity(file: VectorsFile) -> str:
    """Return the identity of what made the vectors: the model's that the file records, or else a hash of the file."""
    return file.label.space.weights if file.label is not None else _content_hash(file)


def _content_hash(file: VectorsFile) -> str:
    digests = "".join(map(sha256_file, file.parts))
    return "sha256:" + (digests if len(file.parts) == 1 else hashlib.sha256(digests.encode()).hexdigest())
