"""Labelled tables in a folder: ``<split>.jsonl`` or ``.jsonl.gz``/``.zst`` with the columns of a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError, TextError
from leafkit.texts.columns import Columns
from leafkit.texts.jsonl import jsonl_rows

Table = dict[str, list[Any]]
Types = Mapping[str, type | tuple[type, ...]]
"""The columns a task reads, and the types their values may have."""

_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def table_files(folder: Path) -> dict[str, Path]:
    """The table file of each split that ``folder`` has."""
    return {
        path.name.removesuffix(ending): path
        for path in sorted(folder.iterdir())
        for ending in _ENDINGS
        if path.name.endswith(ending)
    }


def split_file(folder: Path, split: str) -> Path:
    """The file of ``split``; raises `OptionError` that lists the splits there are."""
    files = table_files(folder)
    if split not in files:
        raise OptionError(f"{folder} has no split {split!r}; it has: {', '.join(files) or 'none'}")
    return files[split]


def first_columns(path: Path) -> list[str]:
    """The column names of a table's first row; raises `TextError` where it has none."""
    for row in jsonl_rows(path, Columns()):
        if row.problem:
            raise TextError(f"{path}:{row.number}: {row.problem}") from row.problem
        return list(row.columns)
    raise TextError(f"{path} holds no rows; a task needs at least one")


def read_table(path: Path, columns: Types) -> Table:
    """The named columns of every row; raises `TextError` naming file and line where a value has another type."""
    table: Table = {name: [] for name in columns}
    for row in jsonl_rows(path, Columns()):
        if row.problem:
            raise TextError(f"{path}:{row.number}: {row.problem}") from row.problem
        for name, kind in columns.items():
            value = row.columns.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TextError(f"{path}:{row.number}: got {value!r:.40} as {name}, wanted {_names(kind)}")
            table[name].append(value)
    if not any(table.values()):
        raise TextError(f"{path} holds no rows; a task needs at least one")
    return table


def _names(kind: type | tuple[type, ...]) -> str:
    words = {str: "a string", int: "a whole number", float: "a number"}
    return " or ".join(words[one] for one in (kind if isinstance(kind, tuple) else (kind,)))
