"""Read documents from disk: find a JSON line by its byte offset, and the row of an id by the hash of the id.

Opening reads none of the lines, so tens of millions of documents open in milliseconds. `leafkit.index.documents`
writes these files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.digest import text_key
from leafkit.files.json_file import explain_invalid, parse_json_object
from leafkit.files.open_files import OpenFiles
from leafkit.search.arrays import read_array
from leafkit.types import Int64

KEY = numpy.dtype("S16")  # the hash of an id
_PIECE = 1 << 24  # 16 MiB, the most that one read of several lines returns
_LONGEST_LINE = 1 << 27  # 128 MiB, twice the longest text that leafkit reads


@dataclass(frozen=True, slots=True)
class Document:
    """The id of a document, and the payload that is shown with a hit."""

    id: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFiles:
    """The paths of the four files that hold documents.

    ``lines`` has a JSON line for each document and ``offsets`` the byte at which each line starts. ``keys`` has the
    sorted hashes of the ids, and ``rows`` the row of each hash.
    """

    lines: Path
    offsets: Path
    keys: Path
    rows: Path


class Documents:
    """Documents on disk: get a document by its row, or a row by its id. Safe to read from many threads.

    The files stay open, so deleting them does not disturb a reader.
    """

    def __init__(self, files: DocumentFiles, opened: OpenFiles, *, memory_map: bool = True) -> None:
        """Open ``files`` among ``opened``; raises `DamageError` if they do not belong together."""
        self.path = files.lines
        self._offsets = read_array(files.offsets, opened, memory_map=memory_map)
        self._keys = read_array(files.keys, opened, memory_map=memory_map)
        self._rows = read_array(files.rows, opened, memory_map=memory_map)
        with explain_invalid(files.lines, expected="a file of documents", advice="Build the index again."):
            lines = opened.open(files.lines).fileno()
        self._size = os.fstat(lines).st_size
        if (
            self._offsets.ndim != 1
            or self._keys.ndim != 1
            or self._keys.shape != self._rows.shape
            or (self._offsets.dtype, self._keys.dtype, self._rows.dtype) != (numpy.int64, KEY, numpy.int64)
            or not len(self._offsets)
            or self._offsets[-1] != self._size
        ):
            raise DamageError(
                f"{files.lines} does not match {files.offsets.name}, {files.keys.name} and {files.rows.name}. "
                "Build the index again."
            )
        self._descriptor = os.dup(lines)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # A default argument, because the module os may be gone before this object when the process ends.
        if getattr(self, "_descriptor", -1) >= 0:
            close(self._descriptor)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> Document:
        """Return the document in ``row``; raises `DamageError` if its line was not written by leafkit."""
        return parse_line(self.line(row), self.path)

    def __iter__(self) -> Iterator[Document]:
        return (self[row] for row in range(len(self)))

    def line(self, row: int) -> bytes:
        """Return the JSON line of ``row``; raises `DamageError` if its offsets are outside the file."""
        start, end = int(self._offsets[row]), int(self._offsets[row + 1])
        if not 0 <= start < end <= min(self._size, start + _LONGEST_LINE):
            raise DamageError(
                f"the offsets of {self.path} put document {row} at bytes {start} to {end}, but the file has "
                f"{self._size} bytes. Build the index again."
            )
        return os.pread(self._descriptor, end - start, start)

    def lines(self, rows: Int64) -> Iterator[bytes]:
        """Yield the JSON lines of ascending ``rows``, joined, in pieces of at most 16 MiB."""
        if len(self) and (self._offsets[0] != 0 or self.lengths().min() < 1):
            raise DamageError(f"the offsets of {self.path} do not ascend from 0. Build the index again.")
        for run in numpy.split(rows, numpy.flatnonzero(numpy.diff(rows) != 1) + 1) if len(rows) else []:
            start, end = int(self._offsets[run[0]]), int(self._offsets[run[-1] + 1])
            for position in range(start, end, _PIECE):
                yield os.pread(self._descriptor, min(_PIECE, end - position), position)

    def lengths(self) -> Int64:
        """Return the number of bytes in the line of each row."""
        return numpy.diff(self._offsets)

    def keys(self) -> NDArray[Any]:
        """Return the key of the id in each row; empty bytes for rows removed before these files were written."""
        keys = numpy.zeros(len(self), dtype=KEY)
        if len(self._rows) and not 0 <= self._rows.min() <= self._rows.max() < len(self):
            raise DamageError(f"an id of {self.path} is recorded in a row that does not exist. Build the index again.")
        keys[self._rows] = self._keys
        return keys

    def rows_of(self, ids: Iterable[str]) -> Int64:
        """Return the row of each id, or -1 for an unknown id. A removed document may still have a row."""
        return self.rows_of_keys(numpy.frombuffer(b"".join(id_key(name) for name in ids), dtype=KEY))

    def rows_of_keys(self, keys: NDArray[Any]) -> Int64:
        """Return what `rows_of` returns, for the keys of ids (see `keys`)."""
        if not len(self._keys):
            return numpy.full(len(keys), -1, dtype=numpy.int64)
        places = numpy.minimum(numpy.searchsorted(self._keys, keys), len(self._keys) - 1)
        rows = numpy.where(self._keys[places] == keys, self._rows[places], -1)
        if len(rows) and rows.max() >= len(self):
            raise DamageError(
                f"{self.path} has {len(self)} documents, but an id is recorded in row {rows.max()}. "
                "Build the index again."
            )
        return rows


def id_key(name: str) -> bytes:
    """Return the 16-byte key under which the id ``name`` is found."""
    return text_key("id", name)


def parse_line(line: bytes, path: Path) -> Document:
    """Parse a JSON line of the file at ``path``; raises `DamageError` if leafkit did not write it."""
    try:
        record = parse_json_object(line)
        if not isinstance(record["id"], str) or not isinstance(record["payload"], dict):
            raise TypeError("the id is not a string, or the payload is not an object")
        return Document(record["id"], record["payload"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(
            f"{path} holds a line that leafkit did not write: {line[:80]!r}. Build the index again."
        ) from error
