"""Ids and payload of the documents: JSON lines read by offset, and ids found by their sorted hashes.

No part of it is proportional to memory: tens of millions of documents open in milliseconds.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError, TextError
from leafkit.files.digest import text_key
from leafkit.search.rescoring import read_array
from leafkit.types import Int64

_KEY = numpy.dtype("S16")


@dataclass(frozen=True, slots=True)
class Document:
    """An id and what is shown with a hit."""

    id: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFiles:
    """Where the four files of a `Documents` are."""

    lines: Path
    offsets: Path
    keys: Path
    rows: Path


class DocumentWriter:
    """Writes documents row after row; `finish` writes what finds them again.

    Memory: 24 bytes a document.
    """

    def __init__(self, files: DocumentFiles) -> None:
        """Begin new files; an existing one is replaced."""
        self._files = files
        self._lines = open(files.lines, "wb")  # noqa: SIM115 - closed by finish or close
        self._lengths = array("q")
        self._keys = bytearray()

    def __enter__(self) -> DocumentWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def add(self, document: Document) -> None:
        """Append one document; raises `TextError` where its payload cannot be JSON."""
        line = _line(document)
        self._lines.write(line)
        self._lengths.append(len(line))
        self._keys += text_key("id", document.id)

    def copy(self, documents: Documents, rows: Int64) -> None:
        """Append ``rows`` (ascending) of other documents as they are."""
        for line in documents.lines(rows):
            self._lines.write(line)
        self._lengths.frombytes(documents.lengths()[rows].astype(numpy.int64).tobytes())
        self._keys += documents.keys()[rows].tobytes()

    def finish(self, live: NDArray[numpy.bool_] | None = None) -> int:
        """Write offsets and sorted keys of the rows that are ``live``; returns the number of rows.

        Raises `TextError` naming ids that occur twice.
        """
        self._lines.close()
        lengths = numpy.array(self._lengths, dtype=numpy.int64)
        numpy.save(self._files.offsets, numpy.concatenate([[0], numpy.cumsum(lengths)]).astype(numpy.int64))
        keys = numpy.frombuffer(bytes(self._keys), dtype=_KEY)
        rows = numpy.arange(len(keys)) if live is None else numpy.flatnonzero(live)
        rows = rows[numpy.argsort(keys[rows], kind="stable")]
        keys = keys[rows]
        again = rows[1:][keys[1:] == keys[:-1]]
        if len(again):
            raise TextError(_twice(self._files.lines, numpy.load(self._files.offsets), numpy.sort(again)))
        numpy.save(self._files.keys, keys)
        numpy.save(self._files.rows, rows.astype(numpy.int64))
        return len(lengths)


class Documents:
    """Documents on disk by row, and the row of an id. Safe to read from many threads.

    The files stay open: deleting them does not disturb a reader.
    """

    def __init__(self, files: DocumentFiles, *, memory_map: bool = True) -> None:
        """Open ``files``; raises `DamageError` where they do not fit together."""
        self.path = files.lines
        self._offsets = read_array(files.offsets, memory_map=memory_map)
        self._keys = read_array(files.keys, memory_map=memory_map)
        self._rows = read_array(files.rows, memory_map=memory_map)
        self._descriptor = os.open(files.lines, os.O_RDONLY)
        self._size = os.fstat(self._descriptor).st_size
        if (
            self._offsets.ndim != 1
            or self._keys.shape != self._rows.shape
            or self._keys.dtype != _KEY
            or not len(self._offsets)
            or self._offsets[-1] != self._size
        ):
            os.close(self._descriptor)
            self._descriptor = -1
            raise DamageError(f"{files.lines} and the files beside it do not fit together")

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # At the end of the process the module os may be gone before this.
        if getattr(self, "_descriptor", -1) >= 0:
            close(self._descriptor)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> Document:
        """The document of ``row``; raises `DamageError` where its line is not one that leafkit wrote."""
        return _parse(self.line(row), self.path)

    def __iter__(self) -> Iterator[Document]:
        return (self[row] for row in range(len(self)))

    def line(self, row: int) -> bytes:
        """The JSON line of ``row``."""
        start, end = int(self._offsets[row]), int(self._offsets[row + 1])
        if not 0 <= start < end <= self._size:
            raise DamageError(f"{self.path}: document {row} is said to be at bytes {start} to {end} of {self._size}")
        return os.pread(self._descriptor, end - start, start)

    def lines(self, rows: Int64) -> Iterator[bytes]:
        """The JSON lines of ascending ``rows``, joined, in pieces of at most 16 MiB."""
        for run in numpy.split(rows, numpy.flatnonzero(numpy.diff(rows) != 1) + 1) if len(rows) else []:
            start, end = int(self._offsets[run[0]]), int(self._offsets[run[-1] + 1])
            for at in range(start, end, 1 << 24):
                yield os.pread(self._descriptor, min(1 << 24, end - at), at)

    def lengths(self) -> Int64:
        """The bytes of each row's line."""
        return numpy.diff(self._offsets)

    def keys(self) -> NDArray[Any]:
        """The key of each row's id; blank for rows that were removed before these files were written."""
        keys = numpy.zeros(len(self), dtype=_KEY)
        keys[self._rows] = self._keys
        return keys

    def rows_of(self, ids: Iterable[str]) -> Int64:
        """The row of each id, -1 where no document has it; a removed document may still be found."""
        return self.rows_of_keys(numpy.frombuffer(b"".join(text_key("id", name) for name in ids), dtype=_KEY))

    def rows_of_keys(self, keys: NDArray[Any]) -> Int64:
        """`rows_of` for what `keys` gives."""
        if not len(self._keys):
            return numpy.full(len(keys), -1, dtype=numpy.int64)
        at = numpy.minimum(numpy.searchsorted(self._keys, keys), len(self._keys) - 1)
        rows = numpy.where(self._keys[at] == keys, self._rows[at], -1)
        if len(rows) and rows.max() >= len(self):
            raise DamageError(f"{self.path} has {len(self)} documents, an id is said to be in row {rows.max()}")
        return rows


def write_documents(files: DocumentFiles, documents: Iterable[Document]) -> int:
    """Write ``documents`` in order and return how many; raises `TextError` for an id that occurs twice."""
    with DocumentWriter(files) as writer:
        for document in documents:
            writer.add(document)
        return writer.finish()


def _line(document: Document) -> bytes:
    record = {"id": document.id, "payload": dict(document.payload)}
    try:
        try:
            return (json.dumps(record, ensure_ascii=False) + "\n").encode()
        except UnicodeEncodeError:  # half of a surrogate pair: keep the file UTF-8 and escape it
            return (json.dumps(record) + "\n").encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TextError(f"the payload of document {document.id!r} cannot be written as JSON: {error}") from error


def _parse(line: bytes, path: Path) -> Document:
    try:
        record = json.loads(line)
        return Document(record["id"], record["payload"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(f"{path} holds a line that leafkit did not write: {line[:80]!r}") from error


def _twice(path: Path, offsets: Int64, rows: Int64) -> str:
    with open(path, "rb") as file:
        names = []
        for row in rows[:5].tolist():
            file.seek(int(offsets[row]))
            names.append(f"{_parse(file.readline(), path).id!r} (document {row + 1})")
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"every document needs an id of its own; these occur again: {', '.join(names)}{more}"
