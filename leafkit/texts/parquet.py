"""Reading Parquet files in batches of rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leafkit.extras import import_optional
from leafkit.texts.arrow import BATCH_ROWS, arrow_rows, vector_columns
from leafkit.texts.columns import Columns, Row
from leafkit.texts.lines import COMPRESSIONS, open_decompressed


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
                shutil.copyfileobj(file, decompressed)
                yield from _file_batches(parquet.ParquetFile(decompressed, buffer_size=1 << 20))
        else:
            yield from _file_batches(parquet.ParquetFile(file, buffer_size=1 << 20))


def _file_batches(file: Any) -> Iterator[Any]:
    schema = file.schema_arrow
    vectors = vector_columns(schema)
    # Vector columns are not read: converting a vector to Python numbers takes 20 times as long as its text.
    yield from file.iter_batches(BATCH_ROWS, columns=[name for name in schema.names if name not in vectors])
