"""Parquet files, read a batch of rows at a time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leafkit.extras import require
from leafkit.texts.arrow import BATCH_ROWS, arrow_rows
from leafkit.texts.columns import Columns, Row
from leafkit.texts.lines import COMPRESSIONS, open_plain


def parquet_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """A row for every row; raises `TextError` if there is no text column of strings."""
    return arrow_rows(_batches(path), columns, str(path))


def _batches(path: Path) -> Iterator[Any]:
    parquet = require("pyarrow.parquet")
    with open_plain(path) as file:
        if path.suffix.lower() in COMPRESSIONS:
            # Parquet is read from its end, which a compressed stream cannot be.
            with tempfile.TemporaryFile() as whole:
                shutil.copyfileobj(file, whole)
                yield from parquet.ParquetFile(whole, buffer_size=1 << 20).iter_batches(BATCH_ROWS)
        else:
            yield from parquet.ParquetFile(file, buffer_size=1 << 20).iter_batches(BATCH_ROWS)
