"""A store of teacher vectors with a linear map applied on reading."""

from __future__ import annotations

from dataclasses import dataclass

from leafkit.types import Float32, Int64
from leafkit.vectors.mapping import LinearMap
from leafkit.vectors.store import VectorStore


@dataclass(frozen=True)
class MappedStore:
    """The training targets of a student: the vectors of ``store``, mapped by ``mapping`` unless it is None.

    The store keeps the teacher's own vectors, so that trainings with different maps share them.
    """

    store: VectorStore
    mapping: LinearMap | None

    def gather(self, rows: Int64) -> Float32:
        """Return the vectors at ``rows`` of the store, (rows, dim). Queries are mapped like documents."""
        vectors = self.store.gather(rows)
        return vectors if self.mapping is None else self.mapping.apply(vectors, "document")
