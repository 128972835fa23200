"""A linear map of a space's vectors into other coordinates, in which cosines are as they were.

A mapped space is a space of its own, with an id of its own: what lives in it and what lives in the space before
cannot be mixed by accident. A student of it writes the new coordinates by itself, since its head takes the map in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy

from leafkit.errors import DamageError, VectorError
from leafkit.files.atomic import atomic_file
from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.cosine import unit_prefix

MAPPING_FILE = "mapping.npz"
FOLD = "fold"


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMap:
    """``documents`` and ``queries`` (dim, base.dim) are applied to a vector of ``base`` by its role.

    ``kind`` is ``pca``, ``itq``, ``random`` or ``fold``. With ``length`` a map does not keep lengths, so documents
    are scaled to length 1 before it and get one number more after it: what is missing to length 1 again, which
    queries have as 0. Inner products do not change by it, and the index sees unit vectors as ever.
    """

    base: Space
    kind: str
    documents: Float32
    queries: Float32
    length: bool = False

    @property
    def dim(self) -> int:
        """Numbers of a mapped vector."""
        return len(self.documents) + self.length

    @cached_property
    def name(self) -> str:
        """The kind and a hash of everything that decides the coordinates."""
        seal = hashlib.sha256(f"{self.base.id} {self.length}".encode())
        for matrix in (self.documents, self.queries):
            seal.update(numpy.ascontiguousarray(matrix, dtype="<f4").data)
        return f"{self.kind}:{seal.hexdigest()[:12]}"

    @property
    def space(self) -> Space:
        """The space that mapped vectors live in."""
        return replace(self.base, dim=self.dim, rotation=self.name)

    @property
    def query_map(self) -> Float32:
        """``queries`` with a row of zeros where documents have their length, (dim, base.dim): what a head takes in."""
        if not self.length:
            return self.queries
        return numpy.concatenate([self.queries, numpy.zeros((1, self.base.dim), numpy.float32)])

    def apply(self, vectors: Float32, role: Role) -> Float32:
        """``vectors`` (rows, base.dim) in the new coordinates, (rows, dim).

        Raises `VectorError` for another width and, with ``length``, for documents that have no direction.
        """
        if vectors.shape[1] != self.base.dim:
            raise VectorError(f"got vectors of {vectors.shape[1]} numbers, wanted {self.base.dim}")
        if role == "query":
            return numpy.asarray(vectors @ self.query_map.T, dtype=numpy.float32)
        if not self.length:
            return numpy.asarray(vectors @ self.documents.T, dtype=numpy.float32)
        mapped = unit_prefix(vectors, self.base.dim, source="the documents") @ self.documents.T
        missing = 1 - numpy.einsum("rd,rd->r", mapped, mapped, dtype=numpy.float64)
        return numpy.column_stack([mapped, numpy.sqrt(missing.clip(min=0))]).astype(numpy.float32)

    def after(self, first: LinearMap | None) -> LinearMap:
        """The one map that does ``first``, a rotation, and then this one."""
        if first is None:
            return self
        return replace(
            self,
            base=first.base,
            documents=self.documents @ first.documents,
            queries=self.queries @ first.queries,
        )

    def save(self, folder: Path) -> None:
        """Write the map into ``folder``."""
        content = {"space": numpy.array(json.dumps(self.base.to_json())), "kind": numpy.array(self.kind)}
        with atomic_file(folder / MAPPING_FILE) as file:
            numpy.savez(
                file, **content, documents=self.documents, queries=self.queries, length=numpy.array(self.length)
            )


def read_mapping(folder: Path, space: Space) -> LinearMap | None:
    """The map in ``folder`` that makes the coordinates of ``space``; None where they are the teacher's own.

    Raises `DamageError` unless the file is there and gives just these coordinates.
    """
    if space.rotation is None:
        return None
    file = folder / MAPPING_FILE
    try:
        with numpy.load(file, allow_pickle=False) as content:
            mapping = LinearMap(
                base=Space.from_json(json.loads(str(content["space"])), where=str(file)),
                kind=str(content["kind"]),
                documents=content["documents"],
                queries=content["queries"],
                length=bool(content["length"]),
            )
            found = mapping.space
        _check(mapping)
    except Exception as error:  # a damaged zip raises whatever the broken byte leads to
        raise DamageError(f"{file} is missing or not a mapping ({error}); copy the folder again") from error
    if found != replace(space, teacher=found.teacher):
        raise DamageError(f"{file} leads to {found.rotation}, wanted {space.rotation}; copy the folder again")
    return mapping


def _check(mapping: LinearMap) -> None:
    """Raise ValueError for matrices that do not make ``mapping.dim`` numbers of ``mapping.base.dim``."""
    wanted = (mapping.dim - mapping.length, mapping.base.dim)
    for matrix in (mapping.documents, mapping.queries):
        if matrix.shape != wanted or matrix.dtype != numpy.float32 or not numpy.isfinite(matrix).all():
            raise ValueError(f"got {matrix.dtype} of shape {matrix.shape}, wanted finite float32 of {wanted}")


@dataclass(frozen=True)
class MappedEncoder:
    """``encoder`` in the coordinates of ``mapping``."""

    encoder: Encoder
    mapping: LinearMap

    @property
    def space(self) -> Space:
        """The mapped space."""
        return self.mapping.space

    @property
    def signals(self) -> frozenset[str]:
        """What the encoder can give besides."""
        return getattr(self.encoder, "signals", frozenset())

    @property
    def approximate(self) -> bool:
        """Whether the vectors only come near the teacher's own."""
        return getattr(self.encoder, "approximate", False)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts`` in the new coordinates, (rows, dim)."""
        return self.mapping.apply(self.encoder.encode(texts, role), role)


def map_teacher(teacher: Teacher, mapping: LinearMap | None) -> Teacher:
    """``teacher`` in the coordinates of ``mapping``, or as it is where there is none or it is of another space."""
    if mapping is None or teacher.space.id != mapping.base.id:
        return teacher
    return MappedEncoder(teacher, mapping)
