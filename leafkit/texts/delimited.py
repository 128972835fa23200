"""CSV and TSV with a header line; a quoted field may span lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from leafkit.errors import TextError
from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.lines import LONGEST_LINE, read_lines


def csv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """A row for every record of a comma-separated file; raises `TextError` if it has no text column."""
    return table_rows(path, ",", columns.check_header)


def tsv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """A row for every record of a tab-separated file; raises `TextError` if it has no text column."""
    return table_rows(path, "\t", columns.check_header)


def table_rows(path: Path, delimiter: str, check_header: Callable[[Sequence[str], str], object]) -> Iterator[Row]:
    """A row for every record after the header, which ``check_header`` is given with the file's name."""
    records = _records(path, delimiter)
    number, header = next(records, (1, []))
    if isinstance(header, RowError):
        raise TextError(f"{path}:{number}: {header}")
    if header:
        check_header(header, str(path))
    for number, fields in records:
        if isinstance(fields, RowError):
            yield Row(number, {}, fields)
        elif len(fields) != len(header):
            message = f"got {len(fields)} fields, wanted {len(header)} as in the header"
            yield Row(number, {}, RowError("wrong number of fields", message))
        else:
            yield Row(number, dict(zip(header, fields)))


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str] | RowError]]:
    """Every record that is not blank, or what is wrong with it, with the line where it starts."""
    # The limit is the whole process's and 128 KiB at first, which real documents exceed.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    decoded = (line.decode(errors="surrogateescape") for _, line in read_lines(path))
    reader = csv.reader(decoded, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
            "".join(fields).encode()
        except StopIteration:
            return
        except UnicodeEncodeError:
            yield start, RowError("not UTF-8", "got bytes that are not UTF-8, wanted UTF-8")
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise TextError(f"{path}:{start}: got a quote that is never closed, wanted its end") from error
            yield start, RowError("bad quoting", f"got {error} by line {reader.line_num}, wanted well-formed CSV")
        else:
            if fields:
                yield start, fields
