"""Read labelled tables from a folder: ``<split>.jsonl``, ``.jsonl.gz`` or ``.jsonl.zst`` with the columns of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError, TextError
from leafkit.texts.columns import Columns
from leafkit.texts.jsonl import jsonl_rows

Table = dict[str, list[Any]]
"""A column name and the values of that column in every row."""
Types = Mapping[str, type | tuple[type, ...]]
"""The columns that a task reads, and the types that their values may have."""

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def table_files(folder: Path) -> dict[str, Path]:
    """Return the table file of each split in ``folder``."""
    return {
        path.name.removesuffix(ending): path
        for path in sorted(folder.iterdir())
        for ending in _ENDINGS
        if path.name.endswith(ending)
    }


def split_file(folder: Path, split: str) -> Path:
    """Return the file of ``split``; raise `OptionError` with the available splits if it is missing."""
    files = table_files(folder)
    if split not in files:
        raise OptionError(
            f"{folder} has no split {split!r}; expected one of: {', '.join(files) or 'none'}. "
            f"Choose another split (--split) or add {split}.jsonl."
        )
    return files[split]


def first_columns(path: Path) -> list[str]:
    """Return the column names of a table's first row; raise `TextError` if the row is invalid or missing."""
    for row in jsonl_rows(path, Columns()):
        if row.problem:
            raise TextError(f"{path}:{row.number}: {row.problem}") from row.problem
        return list(row.columns)
    raise TextError(_no_rows(path))


def read_table(path: Path, columns: Types) -> Table:
    """Read the named columns of every row.

    Raises `TextError` with file and line for a missing value or one of another type, and for a file without rows.
    """
    table: Table = {name: [] for name in columns}
    for row in jsonl_rows(path, Columns()):
        if row.problem:
            raise TextError(f"{path}:{row.number}: {row.problem}") from row.problem
        for name, kind in columns.items():
            value = row.columns.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TextError(f"{path}:{row.number}: {name} is {value!r:.40}; expected {_describe(kind)}.")
            table[name].append(value)
    if not any(table.values()):
        raise TextError(_no_rows(path))
    return table


def _no_rows(path: Path) -> str:
    return f"{path} has no rows; expected at least one JSON object. Provide a table with rows."


def _describe(kind: type | tuple[type, ...]) -> str:
    words = {str: "a string", int: "a whole number", float: "a number"}
    return " or ".join(words[one] for one in (kind if isinstance(kind, tuple) else (kind,)))
