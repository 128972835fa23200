"""Checksums of a store's blocks: each block is compared with its checksum before its rows are first used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy

from leafkit.errors import DamageError
from leafkit.types import Int64

_PIECE = 1 << 20  # bytes hashed at a time


class BlockChecks:
    """Which blocks of one file of a store this process has compared with their checksums."""

    def __init__(self, file: Path, width: int, *, checksum: str, advice: str) -> None:
        """Check ``file``, which has ``width`` bytes per row.

        checksum: the field of a block that holds its SHA-256.
        advice: what to do about a damaged block, a sentence that ends the error message.
        """
        self._file, self._width, self._checksum, self._advice = file, width, checksum, advice
        self.set_blocks([], keep=False)

    def set_blocks(self, blocks: Sequence[dict[str, Any]], *, keep: bool) -> None:
        """Use ``blocks`` from now on. With ``keep`` the first of them are the previous blocks, checked as before."""
        checked = self._checked if keep else numpy.zeros(0, dtype=bool)
        self._blocks = blocks
        self._ends = numpy.cumsum([block["rows"] for block in blocks], dtype=numpy.int64)
        self._checked = numpy.zeros(len(blocks), dtype=bool)
        self._checked[: len(checked)] = checked
        self._all_checked = bool(self._checked.all())

    def check_rows(self, rows: Int64) -> None:
        """Check the blocks that contain ``rows``, unless they were checked before; raise `DamageError` naming a block.

        This reads each block once: 1 to 2 s per gigabyte.
        """
        if not self._all_checked:
            blocks = numpy.unique(numpy.searchsorted(self._ends, rows, side="right"))
            self._check(blocks[~self._checked[blocks]].tolist())

    def check_from(self, row: int) -> None:
        """Check the block that starts at ``row`` and all later ones; raise `DamageError` naming the first damaged one.

        Blocks that were checked before are checked again.
        """
        self._check(range(int(numpy.searchsorted(self._ends, row, side="right")), len(self._blocks)))

    def _check(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if self._sha256(number) != self._blocks[number][self._checksum]:
                raise DamageError(f"{self._file}: block {number} is damaged (its checksum differs). {self._advice}")
            self._checked[number] = True
        self._all_checked = bool(self._checked.all())

    def _sha256(self, number: int) -> str:
        end, rows = int(self._ends[number]), self._blocks[number]["rows"]
        left, digest = rows * self._width, hashlib.sha256()
        with open(self._file, "rb") as file:
            file.seek((end - rows) * self._width)
            while left and (piece := file.read(min(left, _PIECE))):
                digest.update(piece)
                left -= len(piece)
        return digest.hexdigest()
