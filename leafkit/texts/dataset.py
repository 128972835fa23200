"""Reading `datasets` datasets: a folder written by ``save_to_disk``, or a dataset streamed from the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from leafkit.errors import TextError
from leafkit.extras import import_optional
from leafkit.texts.arrow import BATCH_ROWS, arrow_rows
from leafkit.texts.columns import Columns, Row


def is_saved_dataset(folder: Path) -> bool:
    """Tell whether ``save_to_disk`` wrote ``folder``, as one dataset or as a dictionary of splits."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def saved_rows(folder: Path) -> Callable[[Columns], Iterator[Row]]:
    """Open a folder written by ``save_to_disk`` and return a function that yields its rows.

    Raises `TextError` if the folder cannot be opened or contains several splits.
    """
    load = import_optional("datasets").load_from_disk
    dataset = _load(str(folder), lambda: load(str(folder)))
    return _rows(dataset, str(folder), lambda split: f"{folder}/{split}")


def hub_rows(identifier: str) -> Callable[[Columns], Iterator[Row]]:
    """Open the hub dataset ``owner/name`` or ``owner/name:split`` and return a function that streams its rows.

    Raises `TextError` if the dataset cannot be opened, or if it has several splits and ``identifier`` names none.
    """
    name, _, split = identifier.partition(":")
    load = import_optional("datasets").load_dataset
    dataset = _load(f"hub:{identifier}", lambda: load(name, split=split or None, streaming=True))
    return _rows(dataset, f"hub:{identifier}", lambda split: f"hub:{name}:{split}")


def _load(where: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # datasets raises many types without a common base
        raise TextError(
            f"{where}: cannot open the dataset ({error}). Check the name, and that no file is missing."
        ) from error


def _rows(dataset: Any, where: str, split_name: Callable[[str], str]) -> Callable[[Columns], Iterator[Row]]:
    if isinstance(dataset, dict):
        if len(dataset) != 1:
            # Reading all splits would train on the test split.
            raise TextError(
                f"{where}: the dataset has several splits. Choose one of {', '.join(map(split_name, dataset))}."
            )
        dataset = next(iter(dataset.values()))
    tables = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
    return lambda columns: arrow_rows(tables, columns, where)
