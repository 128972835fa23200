"""Rows of Arrow tables: what Parquet files and `datasets` are read as."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from leafkit.errors import LeafkitError, TextError
from leafkit.extras import import_optional
from leafkit.texts.columns import VECTOR_NAMES, Columns, Row, RowError
from leafkit.texts.lines import not_utf8, unreadable

# Rows of a table taken at a time: enough to be quick, little enough for long documents.
BATCH_ROWS = 1000


def arrow_rows(tables: Iterable[Any], columns: Columns, where: str) -> Iterator[Row]:
    """A row for every row of ``tables`` (pyarrow tables or record batches), counted from 1.

    Raises `TextError` if there is no text column, it holds no strings, or reading breaks.
    """
    number = 0
    try:
        for table in tables:
            _check_schema(table.schema, columns, where)
            for record in _records(table):
                number += 1
                yield Row(number, {}, record) if isinstance(record, RowError) else Row(number, record)
    except LeafkitError:
        raise
    except Exception as error:  # every library below raises kinds of its own
        raise unreadable(where, number + 1, error) from error


def vector_columns(schema: Any) -> list[str]:
    """The columns of ``schema`` that hold vectors, the likeliest first."""
    types = import_optional("pyarrow.types")
    kinds = {field.name: field.type for field in schema}
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    numbers = (types.is_floating, types.is_integer)
    return [
        name
        for name in VECTOR_NAMES
        if name in kinds
        and any(test(kinds[name]) for test in lists)
        and any(test(kinds[name].value_type) for test in numbers)
    ]


def _check_schema(schema: Any, columns: Columns, where: str) -> None:
    name = columns.check_header(schema.names, where)
    types = import_optional("pyarrow.types")
    kind = schema.field(name).type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)):
        raise TextError(f"{where}: got {kind} in the text column {name!r}, wanted strings")


def _records(table: Any) -> list[dict[str, Any] | RowError]:
    try:
        return [_jsonable(record) for record in table.to_pylist()]
    except UnicodeDecodeError as error:
        if table.num_rows > 1:
            return [record for index in range(table.num_rows) for record in _records(table.slice(index, 1))]
        return [not_utf8(error)]


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {name: _jsonable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
