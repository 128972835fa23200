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

# 32 MiB: longer than any real text. The limit keeps a file without line ends from filling the memory: the longest line
# of JSON takes up to 25 times as much.
LONGEST_LINE = 1 << 25

# UTF-32 first: its mark starts with the mark of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


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

    Raises `TextError` naming the line where the file cannot be read, ends too early, or has a line above 32 MiB, and
    for a file that starts with the byte order mark of UTF-16 or UTF-32.
    """
    number = 0
    try:
        with open_decompressed(path) as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if number == 1 and (encoding := byte_order_mark(line)):
                    convert = f"iconv -f {encoding} -t UTF-8 {path} > NEW"
                    raise TextError(f"{path} is in {encoding}; expected UTF-8. Convert it: {convert}")
                if len(line) > LONGEST_LINE:
                    raise TextError(f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB. Split it.")
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, number + 1, error) from error


def byte_order_mark(content: bytes) -> str | None:
    """Return the encoding, UTF-16 or UTF-32, whose byte order mark ``content`` starts with; None without a mark."""
    return next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)


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
    """Return the problem of a row of text that holds bytes which are not UTF-8."""
    return foreign_byte(error.object[error.start])


def foreign_byte(byte: int) -> RowError:
    """Return the problem of a row with a ``byte`` that is not UTF-8; the message says how to convert Latin-1."""
    convert = "If the file is in Latin-1 or Windows-1252, convert it: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"
    return RowError("not UTF-8", f"the row holds the byte {byte:#04x}; expected UTF-8. {convert}")
