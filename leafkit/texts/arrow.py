"""Reading rows of Arrow tables, the form in which Parquet files and `datasets` datasets arrive."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Iterator
from typing import Any

from leafkit.errors import LeafkitError, TextError
from leafkit.extras import import_optional
from leafkit.texts.columns import VECTOR_NAMES, Columns, Row, RowError
from leafkit.texts.lines import not_utf8, unreadable

# Rows read at a time: enough to be fast, few enough for long documents.
BATCH_ROWS = 1000


def arrow_rows(tables: Iterable[Any], columns: Columns, where: str) -> Iterator[Row]:
    """Yield every row of ``tables`` (pyarrow tables or record batches), numbered from 1.

    Raises `TextError` naming ``where`` if there is no text column, if the text column holds no strings, or if reading
    fails.
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


def _records(table: Any) -> list[dict[str, Any] | RowError]:
    """Return the rows of ``table`` as dictionaries ready for JSON, with a `RowError` for each row that is not UTF-8."""
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
