"""Reading CSV and TSV files with a header line. A quoted field may span several lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from leafkit.errors import TextError
from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.lines import LONGEST_LINE, foreign_byte, read_lines

# What may separate columns. Spreadsheets of many countries write semicolons into a .csv file.
DELIMITERS = ",;\t|"


def csv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every record of a comma-separated file; raise `TextError` if the file has no text column.

    Columns separated by semicolons, tabs or bars are read too, if that alone gives the header its text column.
    """
    return _rows(path, ",", columns)


def tsv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every record of a tab-separated file; raise `TextError` if the file has no text column."""
    return _rows(path, "\t", columns)


def table_rows(path: Path, delimiter: str, check_header: Callable[[Sequence[str], str], object]) -> Iterator[Row]:
    """Yield every record after the header of the file at ``path``.

    check_header: called with the column names and the file's name; raises an error for a header that cannot be used.
    """
    records = _records(path, delimiter)
    number, header = next(records, (1, []))
    if isinstance(header, RowError):
        raise TextError(f"{path}:{number}: {header}.")
    if header:
        check_header(header, str(path))
    for number, fields in records:
        if isinstance(fields, RowError):
            yield Row(number, {}, fields)
        elif len(fields) != len(header):
            message = f"the row has {len(fields)} fields; expected {len(header)}, as many as the header"
            yield Row(number, {}, RowError("wrong number of fields", message))
        else:
            yield Row(number, dict(zip(header, fields)))


def _rows(path: Path, usual: str, columns: Columns) -> Iterator[Row]:
    yield from table_rows(path, _delimiter(path, usual, columns), columns.check_header)


def _delimiter(path: Path, usual: str, columns: Columns) -> str:
    """Return the ``usual`` delimiter unless the header has a text column with exactly one other delimiter only."""
    fitting = []
    for delimiter in (usual, *(other for other in DELIMITERS if other != usual)):
        _, header = next(_records(path, delimiter), (1, []))
        if not isinstance(header, RowError) and columns.fits(header):
            if delimiter == usual:
                return usual
            fitting.append(delimiter)
    return fitting[0] if len(fitting) == 1 else usual


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str] | RowError]]:
    """Yield every record that is not blank, or the problem with it, together with the line where the record starts."""
    # The field size limit is a setting of the whole process. Its default of 128 KiB is too small for real documents.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
    start, size = 1, 0

    def decoded() -> Iterator[str]:
        nonlocal size
        for _, line in read_lines(path):
            size += len(line)
            if size > 2 * LONGEST_LINE:
                raise TextError(f"{path}:{start}: the record is longer than {2 * LONGEST_LINE >> 20} MiB. Split it.")
            yield line.decode(errors="surrogateescape")

    reader = csv.reader(decoded(), delimiter=delimiter, strict=True)
    while True:
        start, size = reader.line_num + 1, 0
        try:
            fields = next(reader)
            "".join(fields).encode()
        except StopIteration:
            return
        except UnicodeEncodeError as error:
            yield start, foreign_byte(ord(error.object[error.start]) - 0xDC00)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise TextError(f"{path}:{start}: the record starts a quote that is never closed.") from error
            yield start, RowError("bad quoting", f"invalid CSV up to line {reader.line_num} ({error})")
        else:
            if fields:
                yield start, fields
