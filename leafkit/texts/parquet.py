"""Parquet files, read a batch of rows at a time."""

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
    """A row for every row, without its vector; raises `TextError` if there is no text column of strings."""
    return arrow_rows(_batches(path), columns, str(path))


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files in ``folder`` itself, without hidden ones."""
    return sorted(path for path in folder.glob("*.parquet") if path.is_file() and not path.name.startswith("."))


def parquet_parts(folder: Path) -> list[Path]:
    """The Parquet files in ``folder``, which are parts of one table, without those of no rows that Spark writes."""
    files = parquet_files(folder)
    return [path for path in files if _has_rows(path)] or files


def _has_rows(path: Path) -> bool:
    parquet = import_optional("pyarrow.parquet")
    try:
        return parquet.read_metadata(path).num_rows > 0
    except Exception:  # what is wrong with a broken file, its reader tells
        return True


def _batches(path: Path) -> Iterator[Any]:
    parquet = import_optional("pyarrow.parquet")
    with open_decompressed(path) as file:
        if path.suffix.lower() in COMPRESSIONS:
            # Parquet is read from its end, which a compressed stream cannot be.
            with tempfile.TemporaryFile() as whole:
                shutil.copyfileobj(file, whole)
                yield from _rows(parquet.ParquetFile(whole, buffer_size=1 << 20))
        else:
            yield from _rows(parquet.ParquetFile(file, buffer_size=1 << 20))


def _rows(file: Any) -> Iterator[Any]:
    schema = file.schema_arrow
    vectors = vector_columns(schema)
    # As Python numbers, a vector takes twenty times as long as the text beside it.
    yield from file.iter_batches(BATCH_ROWS, columns=[name for name in schema.names if name not in vectors])
