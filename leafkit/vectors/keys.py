"""Which row belongs to a text: 128-bit keys, found by binary search in plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from leafkit.files.digest import text_key
from leafkit.types import Int64, Role

KEY_BYTES = 16
Keys = NDArray[numpy.uint64]  # (rows, 2): the halves of each key


def expand_roles(roles: Sequence[Role] | Role, count: int) -> Sequence[Role]:
    """One role for each of ``count`` texts, where one may stand for all."""
    return [roles] * count if isinstance(roles, str) else roles


def text_keys(texts: Sequence[str], roles: Sequence[str]) -> Keys:
    """The keys of ``texts`` in their ``roles``, one row each."""
    joined = b"".join(map(text_key, roles, texts))
    return numpy.frombuffer(joined, dtype=numpy.uint64).reshape(len(texts), 2)


def first_occurrences(keys: Keys) -> Int64:
    """Positions of the distinct keys, each where it comes first, in the order of ``keys``."""
    order = numpy.lexsort((keys[:, 1], keys[:, 0]))
    new = numpy.ones(len(keys), dtype=bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    return numpy.sort(order[new])


@dataclass(frozen=True)
class KeyIndex:
    """Finds the row of a key; 24 bytes a key, where a dict of bytes would take some 150.

    ``first`` is sorted and holds the first half of each key, ``second`` the other, ``row`` its row number.
    """

    first: NDArray[numpy.uint64]
    second: NDArray[numpy.uint64]
    row: Int64

    @classmethod
    def empty(cls) -> KeyIndex:
        """An index that holds nothing yet."""
        none = numpy.empty(0, dtype=numpy.uint64)
        return cls(first=none, second=none, row=none.astype(numpy.int64))

    def __len__(self) -> int:
        return len(self.row)

    def extended(self, keys: Keys) -> KeyIndex:
        """The index with ``keys`` added, whose rows go on from the last; of equal keys the first is found."""
        order = numpy.argsort(keys[:, 0], kind="stable")
        first, second = keys[order, 0], keys[order, 1]
        at = numpy.searchsorted(self.first, first, side="right")
        return KeyIndex(
            first=numpy.insert(self.first, at, first),
            second=numpy.insert(self.second, at, second),
            row=numpy.insert(self.row, at, order + len(self)),
        )

    def find(self, keys: Keys) -> Int64:
        """The row of each key, -1 where it is absent."""
        rows = numpy.full(len(keys), -1, dtype=numpy.int64)
        at = numpy.searchsorted(self.first, keys[:, 0])
        left = numpy.arange(len(keys))
        # Keys that share their first half are neighbours; a second round is needed about never.
        while len(left):
            left = left[at[left] < len(self)]
            left = left[self.first[at[left]] == keys[left, 0]]
            hit = self.second[at[left]] == keys[left, 1]
            rows[left[hit]] = self.row[at[left[hit]]]
            left = left[~hit]
            at[left] += 1
        return rows
