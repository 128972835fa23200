"""Reading Parquet files in batches of rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from leafkit.errors import TextError
from leafkit.extras import import_optional
from leafkit.texts.arrow import BATCH_ROWS, arrow_rows, vector_columns
from leafkit.texts.columns import Columns, Row
from leafkit.texts.lines import COMPRESSIONS, open_decompressed

# How many times its own size a compressed Parquet file may take when decompressed, and the size that any may take.
MOST_TIMES = 20
LEAST_COPIED = 1 << 26


def parquet_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every row without its vector; raise `TextError` if the file has no text column of strings."""
    return arrow_rows(_batches(path), columns, str(path))


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files directly in ``folder``, sorted, without hidden files."""
    return sorted(path for path in folder.glob("*.parquet") if path.is_file() and not path.name.startswith("."))


def parquet_parts(folder: Path) -> list[Path]:
    """Return the Parquet files in ``folder``, which together form one table.

    Files without rows, which Spark writes, are left out unless all files have no rows.
    """
    files = parquet_files(folder)
    return [path for path in files if _has_rows(path)] or files


def _has_rows(path: Path) -> bool:
    parquet = import_optional("pyarrow.parquet")
    try:
        return parquet.read_metadata(path).num_rows > 0
    except Exception:  # a broken file: reading it later raises an error that says what is wrong
        return True


def _batches(path: Path) -> Iterator[Any]:
    parquet = import_optional("pyarrow.parquet")
    with open_decompressed(path) as file:
        if path.suffix.lower() in COMPRESSIONS:
            # A Parquet reader starts at the end of the file, which a compressed stream cannot do.
            with tempfile.TemporaryFile() as decompressed:
                _copy(file, decompressed, path)
                yield from _file_batches(parquet.ParquetFile(decompressed, buffer_size=1 << 20))
        else:
            yield from _file_batches(parquet.ParquetFile(file, buffer_size=1 << 20))


def _copy(file: BinaryIO, decompressed: IO[bytes], path: Path) -> None:
    """Copy ``file`` to the temporary file ``decompressed``; raise `TextError` if it is too large for the disk.

    The limit is 20 times the size of ``path`` and at least 64 MiB. Parquet files are compressed inside and hardly
    shrink again, so that only a bomb is larger.
    """
    most = max(LEAST_COPIED, MOST_TIMES * path.stat().st_size)
    copied = 0
    while block := file.read(1 << 20):
        copied += len(block)
        if copied > most:
            raise TextError(
                f"{path} is more than {MOST_TIMES} times larger when decompressed. Decompress the file yourself if you "
                "trust it."
            )
        decompressed.write(block)


def _file_batches(file: Any) -> Iterator[Any]:
    schema = file.schema_arrow
    vectors = vector_columns(schema)
    # Vector columns are not read: converting a vector to Python numbers takes 20 times as long as its text.
    yield from file.iter_batches(BATCH_ROWS, columns=[name for name in schema.names if name not in vectors])
