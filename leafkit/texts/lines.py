"""The lines of a file, plain, .gz or .zst, in constant memory."""

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

# 64 MiB: no text is longer, and a file without line ends must not fill the memory.
LONGEST_LINE = 1 << 26


def open_decompressed(path: Path) -> BinaryIO:
    """The bytes of ``path``, decompressed as its suffix says. A truncated stream raises while being read."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if suffix == ".zst":
        # Not the zstandard package: its reader takes a truncated stream for a whole one.
        return io.BufferedReader(import_optional("pyarrow").input_stream(str(path), compression="zstd"))
    return open(path, "rb")


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Every line with its number from 1 and its line end, without a byte order mark.

    Raises `TextError` naming the line reached where the file cannot be read or its stream breaks.
    """
    number = 0
    try:
        with open_decompressed(path) as file:
            while line := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(line) > LONGEST_LINE:
                    raise TextError(f"{path}:{number}: the line is longer than {LONGEST_LINE >> 20} MiB; split it")
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, number + 1, error) from error


def unreadable(where: object, number: int, error: Exception) -> TextError:
    """The error for a file whose reading ends at row ``number`` with ``error``."""
    return TextError(
        f"{where}:{number}: cannot be read from here on ({error}); is the file whole, and what its name says?"
    )


def line_rows(path: Path, parse: Callable[[str], dict[str, Any]]) -> Iterator[Row]:
    """A row for every line that is not blank; ``parse`` gives its columns or raises `RowError`."""
    for number, line in read_lines(path):
        try:
            text = line.decode().removesuffix("\n").removesuffix("\r")
            if not text.strip():
                continue
            columns = parse(text)
        except UnicodeDecodeError as error:
            yield Row(number, {}, not_utf8(error))
        except RowError as bad:
            yield Row(number, {}, bad)
        else:
            yield Row(number, columns)


def not_utf8(error: UnicodeDecodeError) -> RowError:
    """The problem of a row that holds bytes which are not UTF-8."""
    return RowError("not UTF-8", f"got the byte {error.object[error.start]:#04x}, wanted UTF-8")
