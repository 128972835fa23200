"""Reading plain text files: one text per line. Blank lines are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from leafkit.texts.columns import Columns, Row
from leafkit.texts.lines import line_rows


def plain_rows(path: Path, columns: Columns) -> Iterator[Row]:
    """Yield every line that is not blank."""
    return line_rows(path, lambda line: {columns.text or "text": line})
