"""Write the columns by which documents can be filtered: payload fields that hold one type, stored by that type.

A field is left out, with the reason, if a filter on it makes no sense or would be slow: long texts, objects, more than
one type. Takes 16 bytes of memory for each value, and some more for each different text.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.files.arrays import save_array
from leafkit.search.columns import ALIGNED, ARRAYS, LONGEST_TEXT, NO_INTEGER

MOST_COLUMNS = 64
LONGEST_NAME = 100
MOST_TEXTS = 1 << 17
_EXACT = 1 << 53  # the largest integer up to which a float64 holds all of them


def write_columns(path: Path, payloads: Iterable[Mapping[str, Any]]) -> None:
    """Write the columns of the documents with ``payloads``, in order, to the file at ``path``."""
    columns: dict[str, _Column] = {}
    complete, row = True, 0
    for row, payload in enumerate(payloads, start=1):
        for name, value in payload.items():
            column = columns.get(name)
            if column is None:
                if len(columns) == MOST_COLUMNS or len(name) > LONGEST_NAME:
                    complete = False
                    continue
                column = columns[name] = _Column("is the text of the document" if name == "text" else None)
            column.add(row - 1, value)
    save_array(path, _bytes_of(columns, row, complete=complete))


class _Column:
    """The values of one payload field so far, with the row of each, or the ``problem`` why it is no column."""

    def __init__(self, problem: str | None) -> None:
        self.kind: str | None = None
        self.problem = problem
        self._rows = array("q")
        self._values = array("q")
        self._texts: dict[str, int] = {}

    def add(self, row: int, value: Any) -> None:
        """Add the ``value`` of a row; null, not-a-number and an empty list are no value."""
        if self.problem is not None or value is None or value == [] or value != value:
            return
        kind = _kind_of(value)
        self.problem = f"holds {kind}" if kind not in ARRAYS else self._widen(kind)
        for item in value if isinstance(value, list) else [value]:
            if self.problem is None:
                self._append(row, item)
        if self.problem is not None:
            self._rows, self._values, self._texts = array("q"), array("q"), {}

    def arrays(self, rows: int) -> dict[str, NDArray[Any]]:
        """Return the arrays to store for this column of ``rows`` documents."""
        places = numpy.array(self._rows, dtype=numpy.int64)
        values = numpy.array(self._values)
        if self.kind not in ("text", "texts"):
            dtype = ARRAYS[str(self.kind)]["values"]
            empty = {"integer": NO_INTEGER, "number": math.nan, "boolean": -1}[str(self.kind)]
            dense = numpy.full(rows, empty, dtype=dtype)
            dense[places] = values
            return {"values": dense}
        texts = [text.encode("utf-8", "surrogatepass") for text in self._texts]
        order = sorted(range(len(texts)), key=texts.__getitem__)
        ranks = numpy.empty(len(texts), dtype=numpy.int32)
        ranks[order] = numpy.arange(len(texts))
        lengths = [len(texts[number]) for number in order]
        stored = {
            "starts": numpy.concatenate([[0], numpy.cumsum(lengths)]).astype(numpy.int64),
            "texts": numpy.frombuffer(b"".join(texts[number] for number in order), dtype=numpy.uint8),
        }
        if self.kind == "texts":
            return {"values": ranks[values], "rows": places, **stored}
        dense = numpy.full(rows, -1, dtype=numpy.int32)
        dense[places] = ranks[values]
        return {"values": dense, **stored}

    def _widen(self, kind: str) -> str | None:
        """Let the column hold values of ``kind`` too; return the problem if it cannot."""
        both = {self.kind, kind} - {None}
        if both == {"integer", "number"}:
            if self.kind == "integer":
                if any(abs(value) > _EXACT for value in self._values):
                    return "mixes fractions with integers above 2^53"
                self._values = array("d", self._values)
            kind = "number"
        elif both == {"text", "texts"}:
            kind = "texts"
        elif len(both) > 1:
            return f"mixes {self.kind} and {kind}"
        elif self.kind is None and kind == "number":
            self._values = array("d")
        self.kind = kind
        return None

    def _append(self, row: int, value: Any) -> None:
        if isinstance(value, str):
            if len(value) > LONGEST_TEXT:
                self.problem = f"holds texts of more than {LONGEST_TEXT} characters"
                return
            value = self._texts.setdefault(value, len(self._texts))
            if value == MOST_TEXTS:
                self.problem = f"holds more than {MOST_TEXTS:,} different texts"
                return
        elif isinstance(value, int) and abs(value) > (_EXACT if self.kind == "number" else -NO_INTEGER - 1):
            self.problem = "holds integers beyond 64 bits, or above 2^53 beside fractions"
            return
        self._rows.append(row)
        self._values.append(value)


def _kind_of(value: Any) -> str:
    """Return the type of column that holds ``value``, or else a name for what it is."""
    if isinstance(value, list):
        return "texts" if all(isinstance(item, str) for item in value) else "lists of other things than texts"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "text", dict: "objects"}
    return kinds.get(type(value), f"values of type {type(value).__name__}")


def _bytes_of(columns: Mapping[str, _Column], rows: int, *, complete: bool) -> NDArray[numpy.uint8]:
    pieces: list[NDArray[Any]] = []
    described: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    start = 0
    for name, column in columns.items():
        if column.problem is not None:
            left_out[name] = column.problem
            continue
        if column.kind is None:
            left_out[name] = "holds no value in any document"
            continue
        places = {}
        for part, values in column.arrays(rows).items():
            places[part] = [start, len(values)]
            padding = -values.nbytes % ALIGNED
            pieces += [values.view(numpy.uint8), numpy.zeros(padding, dtype=numpy.uint8)]
            start += values.nbytes + padding
        described[name] = {"type": column.kind, "arrays": places}
    header = json.dumps({"rows": rows, "columns": described, "left_out": left_out, "complete": complete}).encode()
    header += b" " * (-len(header) % ALIGNED)
    length = len(header).to_bytes(ALIGNED, "little")
    return numpy.concatenate([numpy.frombuffer(length + header, dtype=numpy.uint8), *pieces])
