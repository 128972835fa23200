"""Reading the lines of a file, plain, .gz or .zst, in constant memory."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from leafkit.errors import TextError
from leafkit.extras import import_optional
from leafkit.texts.columns import Row, RowError

COMPRESSIONS = (".gz", ".zst")

# 64 MiB: longer than any real text. The limit keeps a file without line ends from filling the memory.
LONGEST_LINE = 1 << 26


def open_decompressed(path: Path) -> BinaryIO:
    """Open ``path`` for reading, decompressed according to its suffix. Reading a truncated stream raises an error."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if suffix == ".zst":
        # pyarrow instead of the zstandard package, whose reader does not notice a truncated stream.
        return io.BufferedReader(import_optional("pyarrow").input_stream(str(path), compression="zstd"))
    return open(path, "rb")


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield every line with its number from 1, including its line end, without a byte order mark.

    Raises `TextError` naming the line where the file cannot be read, ends too early, or has a line above 64 MiB.
    """
    number = 0
    try:
        with open_decompressed(path) as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise TextError(f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB. Split it.")
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, number + 1, error) from error


def unreadable(where: object, number: int, error: Exception) -> TextError:
    """Return the error for a file that cannot be read from row ``number`` on because of ``error``."""
    return TextError(
        f"{where}:{number}: cannot read the file from here on ({error}). "
        "Check that the file is complete and that its suffix matches its format."
    )


def line_rows(path: Path, parse: Callable[[str], dict[str, Any]]) -> Iterator[Row]:
    """Yield every line that is not blank as a row; ``parse`` returns the columns of a line or raises `RowError`."""
    for number, line in read_lines(path):
        try:
            text = line.decode().removesuffix("\n").removesuffix("\r")
            if not text.strip():
                continue
            columns = parse(text)
        except UnicodeDecodeError as error:
            yield Row(number, {}, not_utf8(error))
        except RowError as error:
            yield Row(number, {}, error)
        else:
            yield Row(number, columns)


def not_utf8(error: UnicodeDecodeError) -> RowError:
    """Return the problem of a row that holds bytes which are not UTF-8."""
    return RowError("not UTF-8", f"the row holds the byte {error.object[error.start]:#04x}; expected UTF-8")
