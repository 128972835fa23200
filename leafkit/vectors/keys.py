"""Finding the row of a text: 128-bit keys and a binary search in sorted arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from leafkit.files.digest import text_key
from leafkit.types import Int64, Role

KEY_BYTES = 16
Keys = NDArray[numpy.uint64]  # shape (rows, 2): the two halves of each key


def expand_roles(roles: Sequence[Role] | Role, count: int) -> Sequence[Role]:
    """Return one role per text: ``roles`` itself, or a single role repeated for all ``count`` texts."""
    if isinstance(roles, str):
        repeated: list[Role] = [roles] * count
        return repeated
    return roles


def text_keys(texts: Sequence[str], roles: Sequence[str]) -> Keys:
    """Return the keys of ``texts`` in their ``roles``, shape (rows, 2)."""
    joined = b"".join(map(text_key, roles, texts))
    return numpy.frombuffer(joined, dtype=numpy.uint64).reshape(len(texts), 2)


def first_occurrences(keys: Keys) -> Int64:
    """Return the position of the first occurrence of each distinct key, in increasing order."""
    order = numpy.lexsort((keys[:, 1], keys[:, 0]))
    new = numpy.ones(len(keys), dtype=bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    return numpy.sort(order[new])


@dataclass(frozen=True)
class KeyIndex:
    """A map from keys to row numbers that takes 24 bytes per key; a dict of bytes would take about 150.

    first: the first half of each key, sorted.
    second: the second half of each key, in the order of ``first``.
    row: the row number of each key, in the order of ``first``.
    """

    first: NDArray[numpy.uint64]
    second: NDArray[numpy.uint64]
    row: Int64

    @classmethod
    def empty(cls) -> KeyIndex:
        """Return an index without keys."""
        none = numpy.empty(0, dtype=numpy.uint64)
        return cls(first=none, second=none, row=none.astype(numpy.int64))

    def __len__(self) -> int:
        return len(self.row)

    def extended(self, keys: Keys) -> KeyIndex:
        """Return the index with ``keys`` added as the next rows. `find` returns the first of equal keys."""
        order = numpy.argsort(keys[:, 0], kind="stable")
        first, second = keys[order, 0], keys[order, 1]
        at = numpy.searchsorted(self.first, first, side="right")
        return KeyIndex(
            first=numpy.insert(self.first, at, first),
            second=numpy.insert(self.second, at, second),
            row=numpy.insert(self.row, at, order + len(self)),
        )

    def find(self, keys: Keys) -> Int64:
        """Return the row of each key, shape (rows,), -1 for a missing key."""
        rows = numpy.full(len(keys), -1, dtype=numpy.int64)
        at = numpy.searchsorted(self.first, keys[:, 0])
        pending = numpy.arange(len(keys))
        # Keys with equal first halves are neighbours, but hardly ever occur: the loop nearly always runs once.
        while len(pending):
            pending = pending[at[pending] < len(self)]
            pending = pending[self.first[at[pending]] == keys[pending, 0]]
            hit = self.second[at[pending]] == keys[pending, 1]
            rows[pending[hit]] = self.row[at[pending[hit]]]
            pending = pending[~hit]
            at[pending] += 1
        return rows
