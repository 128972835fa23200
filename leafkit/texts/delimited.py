"""Reading CSV and TSV files with a header line. A quoted field may span several lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from leafkit.errors import TextError
from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.lines import LONGEST_LINE, read_lines


def csv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every record of a comma-separated file; raise `TextError` if the file has no text column."""
    return table_rows(path, ",", columns.check_header)


def tsv_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every record of a tab-separated file; raise `TextError` if the file has no text column."""
    return table_rows(path, "\t", columns.check_header)


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


def _records(path: Path, delimiter: str) -> Iterator[tuple[int, list[str] | RowError]]:
    """Yield every record that is not blank, or the problem with it, together with the line where the record starts."""
    # The field size limit is a setting of the whole process. Its default of 128 KiB is too small for real documents.
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
            yield start, RowError("not UTF-8", "the row holds bytes that are not UTF-8; expected UTF-8")
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise TextError(f"{path}:{start}: the record starts a quote that is never closed.") from error
            yield start, RowError("bad quoting", f"invalid CSV up to line {reader.line_num} ({error})")
        else:
            if fields:
                yield start, fields
