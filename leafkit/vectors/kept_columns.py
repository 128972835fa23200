"""The columns of texts that a vectors file keeps beside id, title, text, role and vector, and their Parquet types."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from leafkit.extras import explain_missing_extras
from leafkit.texts.record import Text
from leafkit.vectors.vectors_file_types import OWN_COLUMNS, kept_payload

with explain_missing_extras():
    import pyarrow
    from pyarrow import parquet

CHUNK = 4096  # rows whose columns are looked at together

log = logging.getLogger("leafkit")


@dataclass
class KeptColumns:
    """The columns of the texts: the Parquet type of each by name, and whether any text has a title.

    The type is None for a column that Parquet cannot hold, such as numbers and lists in turn. It is written as text:
    strings as they are, and other values as JSON.
    """

    title: bool = False
    types: dict[str, pyarrow.DataType | None] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Iterable[Text]) -> KeptColumns:
        """Read all ``texts``, a few thousand at a time, and find the type of every column."""
        found, left_out, rows = cls(), set[str](), iter(texts)
        while chunk := list(islice(rows, CHUNK)):
            found.title = found.title or any(text.title for text in chunk)
            left_out.update(name for text in chunk for name in text.payload if name in OWN_COLUMNS)
            for name in dict.fromkeys(name for text in chunk for name in kept_payload(text)):
                own = _type_of([text.payload.get(name) for text in chunk])
                found.types[name] = _common(found.types[name], own) if name in found.types else own
        found.types = {name: _writable(kind) for name, kind in found.types.items()}
        if left_out:
            log.warning("left out the columns %s, whose names the file needs itself", ", ".join(sorted(left_out)))
        if mixed := [name for name, kind in found.types.items() if kind is None]:
            log.warning("the columns %s hold values of several kinds and are written as text", ", ".join(mixed))
        return found

    def fields(self) -> dict[str, pyarrow.DataType]:
        """Return the columns with the types in which they are written."""
        return {name: pyarrow.string() if kind is None else kind for name, kind in self.types.items()}

    def arrays(self, texts: Sequence[Text]) -> list[Any]:
        """Return the values of each column for ``texts``, in the order of `fields`."""
        columns = []
        for name, kind in self.types.items():
            values = [text.payload.get(name) for text in texts]
            columns.append(pyarrow.array([_as_text(value) for value in values] if kind is None else values, kind))
        return columns


def _type_of(values: list[Any]) -> pyarrow.DataType | None:
    try:
        return pyarrow.array(values).type
    except (pyarrow.ArrowException, OverflowError, ValueError):
        return None


def _common(one: pyarrow.DataType | None, other: pyarrow.DataType | None) -> pyarrow.DataType | None:
    """Return the type that holds the values of both types, or None."""
    if one is None or other is None:
        return None
    schemas = [pyarrow.schema({"column": kind}) for kind in (one, other)]
    try:
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pyarrow.ArrowException:
        return None


def _writable(kind: pyarrow.DataType | None) -> pyarrow.DataType | None:
    """Return ``kind``, strings for a column without a value, or None if Parquet has no such type."""
    if kind is None or pyarrow.types.is_null(kind):
        return kind and pyarrow.string()
    try:
        parquet.ParquetWriter(pyarrow.BufferOutputStream(), pyarrow.schema({"column": kind})).close()
    except pyarrow.ArrowException:
        return None
    return kind


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
