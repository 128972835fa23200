"""What a run trains on, as it lies in the run folder: tokens, roles and the teacher's vectors of the same texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.training.tokens import TokenFile
from leafkit.types import Float32, Int64
from leafkit.vectors.mapped_store import MappedStore


@dataclass(frozen=True, kw_only=True)
class Material:
    """Texts 0 to ``train`` are for training, the rest for validation; ``places`` are their rows in ``store``.

    ``labels`` (-1 for none) and ``domains`` are (train,). ``taught`` stands for the teacher's vectors of the training
    texts, (train, dim), where a student is to learn something else.
    """

    tokens: TokenFile
    roles: Int64
    places: Int64
    train: int
    store: MappedStore
    labels: Int64
    domains: Int64
    taught: Float32 | None = None

    @property
    def train_rows(self) -> Int64:
        """The texts to train on."""
        return numpy.arange(self.train)

    @property
    def valid_rows(self) -> Int64:
        """The texts held out."""
        return numpy.arange(self.train, len(self.tokens))

    def targets(self, rows: Int64) -> Float32:
        """What a student is to write for ``rows``, all for training or all held out, (rows, dim) float32."""
        if self.taught is not None and len(rows) and rows[0] < self.train:
            return self.taught[rows]
        return self.store.gather(self.places[rows])
