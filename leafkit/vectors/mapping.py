"""Linear maps of the vectors of a space into other coordinates that keep cosines.

The mapped vectors belong to a new space with a new id, so that old and new vectors cannot be mixed by accident. A
student of the new space needs no extra step: the map is multiplied into the student's head.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy

from leafkit.errors import DamageError, VectorError
from leafkit.files.arrays import arrays_in
from leafkit.files.atomic import atomic_file
from leafkit.files.json_file import explain_invalid, parse_json_object
from leafkit.files.open_files import OpenFiles
from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.cosine import unit_prefix

MAPPING_FILE = "mapping.npz"
FOLD = "fold"
ARRAYS = ("space", "kind", "documents", "queries", "length")


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMap:
    """A matrix per role that maps vectors of the space ``base`` to a new space.

    base: the space of the vectors before mapping.
    kind: ``pca``, ``itq``, ``random`` or ``fold``.
    documents, queries: the matrix for each role, both of the same shape (rows, base.dim).
    adds_length: for a map that shortens vectors, whether to append one component that restores length 1. Documents are
        then scaled to length 1 before the map, and the new component is sqrt(1 - the squared length of the mapped
        vector). The component of queries is 0, so inner products do not change, and the index still gets unit vectors.
    """

    base: Space
    kind: str
    documents: Float32
    queries: Float32
    adds_length: bool = False

    @property
    def dim(self) -> int:
        """The width of mapped vectors."""
        return len(self.documents) + self.adds_length

    @cached_property
    def name(self) -> str:
        """The kind and a hash of everything that decides the mapped vectors, for example ``pca:0123456789ab``."""
        digest = hashlib.sha256(f"{self.base.id} {self.adds_length}".encode())
        for matrix in (self.documents, self.queries):
            digest.update(numpy.ascontiguousarray(matrix, dtype="<f4").data)
        return f"{self.kind}:{digest.hexdigest()[:12]}"

    @property
    def space(self) -> Space:
        """The space of the mapped vectors."""
        return replace(self.base, dim=self.dim, rotation=self.name)

    @property
    def query_map(self) -> Float32:
        """The matrix to multiply into a student's head, (dim, base.dim).

        This is ``queries``, with a row of zeros appended if the map adds a length component.
        """
        if not self.adds_length:
            return self.queries
        return numpy.concatenate([self.queries, numpy.zeros((1, self.base.dim), numpy.float32)])

    def apply(self, vectors: Float32, role: Role) -> Float32:
        """Map ``vectors`` (rows, base.dim) of ``role`` and return them, (rows, dim), float32.

        Raises `VectorError` for vectors of another width and, with ``adds_length``, for documents that are all zeros.
        """
        if vectors.shape[1] != self.base.dim:
            raise VectorError(
                f"the vectors have the width {vectors.shape[1]}; expected {self.base.dim}, the width before mapping."
            )
        if role == "query":
            return numpy.asarray(vectors @ self.query_map.T, dtype=numpy.float32)
        if not self.adds_length:
            return numpy.asarray(vectors @ self.documents.T, dtype=numpy.float32)
        mapped = unit_prefix(vectors, self.base.dim, source="the documents") @ self.documents.T
        missing = 1 - numpy.einsum("rd,rd->r", mapped, mapped, dtype=numpy.float64)
        return numpy.column_stack([mapped, numpy.sqrt(missing.clip(min=0))]).astype(numpy.float32)

    def after(self, first: LinearMap | None) -> LinearMap:
        """Return the composition of two maps: ``first`` (a rotation, or None for no map), then this map."""
        if first is None:
            return self
        return replace(
            self,
            base=first.base,
            documents=self.documents @ first.documents,
            queries=self.queries @ first.queries,
        )

    def save(self, folder: Path) -> None:
        """Write the map to the file mapping.npz in ``folder``."""
        with atomic_file(folder / MAPPING_FILE) as file:
            numpy.savez(
                file,
                space=numpy.array(json.dumps(self.base.to_json())),
                kind=numpy.array(self.kind),
                documents=self.documents,
                queries=self.queries,
                length=numpy.array(self.adds_length),
            )


def read_mapping(folder: Path, space: Space, files: OpenFiles | None = None) -> LinearMap | None:
    """Return the map in ``folder`` that leads to ``space``, or None if ``space`` is not a mapped space.

    ``files`` are the open files of the folder; None opens the file of the map.

    Raises `DamageError` if the file is missing or damaged, or if its map leads to another space.
    """
    if space.rotation is None:
        return None
    file = folder / MAPPING_FILE
    with explain_invalid(file, expected="a mapping", advice="Copy the folder again."):
        with contextlib.ExitStack() as stack:
            opened = files or stack.enter_context(OpenFiles(folder, follow_links=True))
            content = arrays_in(opened.open(file), ARRAYS)
        mapping = LinearMap(
            base=Space.from_json(parse_json_object(str(content["space"])), where=str(file)),
            kind=str(content["kind"]),
            documents=content["documents"],
            queries=content["queries"],
            adds_length=bool(content["length"]),
        )
        _check_matrices(mapping)
        target = mapping.space
    if target != replace(space, teacher=target.teacher):
        raise DamageError(f"{file} is the mapping {target.rotation}; expected {space.rotation}. Copy the folder again.")
    return mapping


def _check_matrices(mapping: LinearMap) -> None:
    """Raise ValueError unless both matrices are finite float32 of the shape that ``mapping`` says."""
    expected = (mapping.dim - mapping.adds_length, mapping.base.dim)
    for matrix in (mapping.documents, mapping.queries):
        if matrix.shape != expected or matrix.dtype != numpy.float32 or not numpy.isfinite(matrix).all():
            raise ValueError(f"got {matrix.dtype} of shape {matrix.shape}; expected finite float32 of shape {expected}")


@dataclass(frozen=True)
class MappedEncoder:
    """``encoder`` followed by ``mapping``."""

    encoder: Encoder
    mapping: LinearMap

    @property
    def space(self) -> Space:
        """The space of the mapped vectors."""
        return self.mapping.space

    @property
    def signals(self) -> frozenset[str]:
        """What a student can learn from the encoder."""
        return getattr(self.encoder, "signals", frozenset())

    @property
    def approximate(self) -> bool:
        """Whether the vectors only approximate those of the teacher."""
        return getattr(self.encoder, "approximate", False)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the mapped vectors of ``texts``, (rows, dim)."""
        return self.mapping.apply(self.encoder.encode(texts, role), role)


def map_teacher(teacher: Teacher, mapping: LinearMap | None) -> Teacher:
    """Return ``teacher`` followed by ``mapping``, or ``teacher`` itself if ``mapping`` is None or of another space."""
    if mapping is None or teacher.space.id != mapping.base.id:
        return teacher
    return MappedEncoder(teacher, mapping)
