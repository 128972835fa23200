"""A store of teacher vectors seen in other coordinates: kept once as the teacher wrote them, mapped when read."""

from __future__ import annotations

from dataclasses import dataclass

from leafkit.types import Float32, Int64
from leafkit.vectors.mapping import LinearMap
from leafkit.vectors.store import VectorStore


@dataclass(frozen=True)
class MappedStore:
    """What a student is to write: the vectors of ``store`` in the coordinates of ``mapping``, alike for both roles."""

    store: VectorStore
    mapping: LinearMap | None

    def gather(self, rows: Int64) -> Float32:
        """The vectors at ``rows`` of the store, (rows, dim)."""
        vectors = self.store.gather(rows)
        return vectors if self.mapping is None else self.mapping.apply(vectors, "document")
