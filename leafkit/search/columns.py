"""Find the documents that a filter allows, from columns of their payloads that are stored by type.

One file holds all columns: a .npy array of bytes that starts with 8 bytes for the length of a JSON header. The header
says where the arrays of each column start; the arrays stay in the file until a filter needs them. A value is stored as

    integer   int64, the smallest for no value
    number    float64, not-a-number for no value
    boolean   int8: 0, 1, or -1 for no value
    text      int32: the position among the column's sorted texts, or -1 for no value
    texts     the same position for each element of a list, with the row of the element

The texts are UTF-8, whose order is that of the characters. `leafkit.index.columns` writes the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.json_file import explain_invalid, parse_json_object
from leafkit.files.open_files import OpenFiles
from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or, Value
from leafkit.filters.exact import LEAST, MOST, NO_TEXT, float_bound, held, integer_bound
from leafkit.filters.schema import Schema
from leafkit.search.arrays import read_array
from leafkit.types import Int64

Mask = NDArray[numpy.bool_]

# The arrays of each type of column, in the order in which they are stored.
_TEXTS = {"starts": numpy.dtype(numpy.int64), "texts": numpy.dtype(numpy.uint8)}
ARRAYS: dict[str, dict[str, numpy.dtype[Any]]] = {
    "integer": {"values": numpy.dtype(numpy.int64)},
    "number": {"values": numpy.dtype(numpy.float64)},
    "boolean": {"values": numpy.dtype(numpy.int8)},
    "text": {"values": numpy.dtype(numpy.int32), **_TEXTS},
    "texts": {"values": numpy.dtype(numpy.int32), "rows": numpy.dtype(numpy.int64), **_TEXTS},
}
NO_INTEGER = numpy.iinfo(numpy.int64).min
ALIGNED = 8
LONGEST_HEADER = 1 << 20
LONGEST_TEXT = 256  # characters
_HALF_PAIR = re.compile(rb"\xed[\xa0-\xbf]")  # half of a surrogate pair as the bytes of a text


class Columns:
    """The columns of documents that filters may name (``schema``). Any number of threads may search them."""

    def __init__(self, path: Path, opened: OpenFiles, *, rows: int, memory_map: bool = True) -> None:
        """Open the columns of ``rows`` documents at ``path`` among ``opened``; raises `DamageError` for damage."""
        self._path, self._rows = path, rows
        data = read_array(path, opened, memory_map=memory_map)
        with explain_invalid(path, expected="a file of columns that leafkit wrote", advice="Build the index again."):
            header, self._data = _split(data)
            if header["rows"] != rows:
                raise ValueError(f"it has {header['rows']!r} rows; expected {rows}")
            types = {name: facts["type"] for name, facts in header["columns"].items()}
            self.schema = Schema.from_json({**header, "types": types})
            self._arrays = {name: self._open(facts) for name, facts in header["columns"].items()}

    def rows(self, condition: Condition) -> Int64:
        """Return the rows where ``condition`` is true, ascending; rows of removed documents may be among them.

        Raises `OptionError` for an unknown column and for a value of another type than the column's.
        """
        return numpy.flatnonzero(self._mask(condition))

    def unportable(self) -> dict[str, str]:
        """Return the columns with values that most databases cannot hold, with the reason for each."""
        found = {}
        for name, arrays in self._arrays.items():
            if NO_TEXT.search(name):
                found[name] = "has a name with NUL or half of a surrogate pair"
            elif "texts" in arrays:
                content = arrays["texts"].tobytes()
                if b"\0" in content or _HALF_PAIR.search(content):
                    found[name] = "holds texts with NUL or half of a surrogate pair"
            elif self.schema.types[name] == "number" and numpy.isinf(arrays["values"]).any():
                found[name] = "holds infinite numbers"
        return found

    def _open(self, facts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        kinds, places = ARRAYS[facts["type"]], facts["arrays"]
        arrays = {name: self._array(places[name], dtype) for name, dtype in kinds.items()}
        elements = len(arrays["rows"]) if "rows" in arrays else self._rows
        if len(arrays["values"]) != elements or ("starts" in arrays and not len(arrays["starts"])):
            raise ValueError("the arrays of a column do not belong together")
        return arrays

    def _array(self, place: Sequence[int], dtype: numpy.dtype[Any]) -> NDArray[Any]:
        start, count = place
        end = start + count * dtype.itemsize
        if start % ALIGNED or not 0 <= start <= end <= len(self._data):
            raise ValueError(f"an array from byte {start} to {end} is outside the file")
        return self._data[start:end].view(dtype)

    def _mask(self, condition: Condition) -> Mask:
        if isinstance(condition, Not):
            return ~self._mask(condition.part)
        if isinstance(condition, And | Or):
            combine = numpy.logical_and if isinstance(condition, And) else numpy.logical_or
            mask = self._mask(condition.parts[0])
            for part in condition.parts[1:]:
                combine(mask, self._mask(part), out=mask)
            return mask
        return self._leaf(condition)

    def _leaf(self, condition: Compare | In | Missing) -> Mask:
        """Return the mask of a condition that names one column."""
        kind = self.schema.check_leaf(condition)
        arrays = self._arrays[condition.column]
        if isinstance(condition, Missing):
            return ~self._by_row(arrays, _present(kind, arrays["values"]))
        values = condition.values if isinstance(condition, In) else (condition.value,)
        if kind in ("text", "texts"):
            found = self._compare_texts(condition, arrays)
        elif isinstance(condition, In) or condition.operator == "=":
            found = _equal(kind, arrays["values"], values)
        else:
            found = _compare_numbers(kind, arrays["values"], condition.operator, values[0])
        return self._by_row(arrays, found)

    def _by_row(self, arrays: Mapping[str, NDArray[Any]], found: Mask) -> Mask:
        """Return the mask of rows, from that of elements if the column holds lists."""
        if "rows" not in arrays:
            return found
        rows = arrays["rows"][found]
        if len(rows) and not 0 <= rows.min() <= rows.max() < self._rows:
            raise DamageError(f"{self._path} names a document that does not exist. Build the index again.")
        mask = numpy.zeros(self._rows, dtype=bool)
        mask[rows] = True
        return mask

    def _compare_texts(self, condition: Compare | In, arrays: Mapping[str, NDArray[Any]]) -> Mask:
        values = arrays["values"]
        if isinstance(condition, In) or condition.operator == "=":
            wanted = condition.values if isinstance(condition, In) else (condition.value,)
            found = [self._position(arrays, str(value)) for value in wanted]
            return numpy.isin(values, numpy.array([place for place, known in found if known], dtype=values.dtype))
        place, known = self._position(arrays, str(condition.value))
        if condition.operator in ("<", "<="):
            return (values >= 0) & (values < place + (known and condition.operator == "<="))
        return values >= place + (known and condition.operator == ">")

    def _position(self, arrays: Mapping[str, NDArray[Any]], value: str) -> tuple[int, bool]:
        """Return how many texts of a column come before ``value``, and whether it is one of them."""
        starts, content, wanted = arrays["starts"], arrays["texts"], value.encode("utf-8", "surrogatepass")
        low, high = 0, len(starts) - 1
        while low < high:
            middle = (low + high) // 2
            start, end = int(starts[middle]), int(starts[middle + 1])
            if not 0 <= start <= end <= min(len(content), start + 4 * LONGEST_TEXT):
                raise DamageError(f"{self._path} holds no text at bytes {start} to {end}. Build the index again.")
            text = content[start:end].tobytes()
            if text == wanted:
                return middle, True
            low, high = (middle + 1, high) if text < wanted else (low, middle)
        return low, False


def _split(data: NDArray[Any]) -> tuple[dict[str, Any], NDArray[Any]]:
    """Return the header of a file of columns, and the bytes after it."""
    if data.dtype != numpy.uint8 or data.ndim != 1 or len(data) < ALIGNED:
        raise ValueError(f"it holds {data.dtype} of shape {data.shape}; expected bytes")
    length = int.from_bytes(data[:ALIGNED].tobytes(), "little")
    if length > min(LONGEST_HEADER, len(data) - ALIGNED):
        raise ValueError(f"its header has {length} bytes")
    header = parse_json_object(data[ALIGNED : ALIGNED + length].tobytes())
    return header, numpy.asarray(data[ALIGNED + length :])


def _present(kind: str, values: NDArray[Any]) -> Mask:
    if kind == "number":
        return ~numpy.isnan(values)
    return values != NO_INTEGER if kind == "integer" else values >= 0


def _equal(kind: str, values: NDArray[Any], wanted: Iterable[Value]) -> Mask:
    """Compare numbers exactly: one that the type of the column cannot hold equals none of ``values``."""
    numbers = [number for value in wanted if (number := held(kind, value)) is not None]
    return numpy.isin(values, numpy.array(numbers, dtype=values.dtype))


def _compare_numbers(kind: str, values: NDArray[Any], operator: str, value: Any) -> Mask:
    """Compare numbers with ``value`` exactly, as Python does, also beyond the range of the column's type."""
    bound: int | float
    if kind == "integer":
        operator, bound = integer_bound(operator, value)
        if not LEAST <= bound <= MOST:
            below = (bound > 0) == (operator in ("<", "<="))
            return _present(kind, values) if below else numpy.zeros(len(values), dtype=bool)
    else:
        operator, bound = float_bound(operator, value)
    compare = {"<": numpy.less, "<=": numpy.less_equal, ">": numpy.greater, ">=": numpy.greater_equal}[operator]
    found = compare(values, bound)
    return found & _present(kind, values) if kind == "integer" else found
