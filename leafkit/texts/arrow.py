"""Reading rows of Arrow tables, the form in which Parquet files and `datasets` datasets arrive."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from leafkit.errors import LeafkitError, TextError
from leafkit.extras import import_optional
from leafkit.texts.columns import VECTOR_NAMES, Columns, Row, RowError
from leafkit.texts.lines import unreadable

# Rows read at a time: enough to be fast, few enough for long documents.
BATCH_ROWS = 1000
# The most bytes of such a batch.
LARGEST_BATCH = 1 << 30


def arrow_rows(tables: Iterable[Any], columns: Columns, where: str) -> Iterator[Row]:
    """Yield every row of ``tables`` (pyarrow tables or record batches), numbered from 1.

    Raises `TextError` naming ``where`` if there is no text column, if the text column holds no strings, or if reading
    fails.
    """
    number = 0
    try:
        for table in tables:
            _check_schema(table.schema, columns, where)
            _check_size(table, where, number)
            for record in _records(table):
                number += 1
                yield Row(number, {}, record) if isinstance(record, RowError) else Row(number, record)
    except LeafkitError:
        raise
    except Exception as error:  # pyarrow and datasets raise many types without a common base
        raise unreadable(where, number + 1, error) from error


def vector_columns(schema: Any) -> list[str]:
    """Return the columns of ``schema`` (a pyarrow schema) that hold vectors, the most common name first."""
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
        raise TextError(f"{where}: the text column {name!r} has the type {kind}; expected strings.")


def _check_size(table: Any, where: str, number: int) -> None:
    """Raise `TextError` if the strings of ``table`` take more than 1 GiB as Python objects.

    A dictionary column holds an equal string once, so that a small file could stand for more than any memory.
    """
    pyarrow = import_optional("pyarrow")
    compute = import_optional("pyarrow.compute")
    size = table.nbytes
    for column in table.columns:
        for chunk in column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]:
            if pyarrow.types.is_dictionary(chunk.type) and not pyarrow.types.is_primitive(chunk.type.value_type):
                lengths = compute.fill_null(compute.take(compute.binary_length(chunk.dictionary), chunk.indices), 0)
                size += compute.sum(lengths).as_py() or 0
    if size > LARGEST_BATCH:
        raise TextError(
            f"{where}: the {table.num_rows} rows from row {number + 1} on take {size >> 20} MiB; expected at most "
            f"{LARGEST_BATCH >> 20} MiB. Remove the column that is not text."
        )


def _records(table: Any) -> list[dict[str, Any] | RowError]:
    """Return the rows of ``table`` as dictionaries ready for JSON, with a `RowError` for each row that is not UTF-8."""
    try:
        return [_jsonable(record) for record in table.to_pylist()]
    except UnicodeDecodeError as error:
        if table.num_rows > 1:
            return [record for index in range(table.num_rows) for record in _records(table.slice(index, 1))]
        return [RowError("not UTF-8", f"the row holds the byte {error.object[error.start]:#04x}; expected UTF-8")]


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
