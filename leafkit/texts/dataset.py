"""`datasets` datasets: a folder written by ``save_to_disk``, or a hub id read as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from leafkit.errors import TextError
from leafkit.extras import import_optional
from leafkit.texts.arrow import BATCH_ROWS, arrow_rows
from leafkit.texts.columns import Columns, Row


def is_saved_dataset(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote ``folder``, as a dataset or as a dictionary of splits."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def saved_rows(folder: Path) -> Callable[[Columns], Iterator[Row]]:
    """The rows of a folder written by ``save_to_disk``; raises `TextError` if it holds several splits."""
    load = import_optional("datasets").load_from_disk
    dataset = _opened(str(folder), lambda: load(str(folder)))
    return _rows(dataset, str(folder), lambda split: f"{folder}/{split}")


def hub_rows(identifier: str) -> Callable[[Columns], Iterator[Row]]:
    """The rows of ``owner/name`` or ``owner/name:split``, streamed; raises `TextError` if the split is to be named."""
    name, _, split = identifier.partition(":")
    load = import_optional("datasets").load_dataset
    dataset = _opened(f"hub:{identifier}", lambda: load(name, split=split or None, streaming=True))
    return _rows(dataset, f"hub:{identifier}", lambda split: f"hub:{name}:{split}")


def _opened(where: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # datasets raises a kind of its own for each thing that can be wrong
        raise TextError(f"{where}: cannot be opened as a dataset ({error})") from error


def _rows(dataset: Any, where: str, named: Callable[[str], str]) -> Callable[[Columns], Iterator[Row]]:
    if isinstance(dataset, dict):
        if len(dataset) != 1:
            # Reading them all would train on the test split.
            raise TextError(f"{where}: has several splits; name one of {', '.join(map(named, dataset))}")
        dataset = next(iter(dataset.values()))
    tables = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
    return lambda columns: arrow_rows(tables, columns, where)
