"""Find a task by name: in a local folder, or in mteb's own registry.

Import this module only if mteb is installed.
"""

from __future__ import annotations

import difflib
from os import PathLike
from pathlib import Path

import mteb
from mteb.abstasks import AbsTask

from leafkit.errors import InputError, OptionError
from leafkit.evaluation.mteb_local_tasks import open_local


def find_task(name: str, data_root: str | PathLike[str] | None, split: str) -> AbsTask:
    """Return the task in the folder ``data_root/name``, or mteb's task called ``name`` if ``data_root`` is None.

    Below ``data_root`` the case of the name does not matter, and ``name:kind`` measures a folder as another kind of
    task, e.g. ``banking77:clustering``. Raises `OptionError` with the nearest names if there is no such task.
    """
    if data_root is None:
        return _registered(name)
    root = Path(data_root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected the parent folder of the tasks' folders (--data-root).")
    stem, _, kind = name.partition(":")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    same = [folders[stem]] if stem in folders else [p for n, p in folders.items() if n.lower() == stem.lower()]
    if not same:
        near = _suggestion(stem, list(folders))
        raise OptionError(
            f"{root} has no folder for the task {stem!r}. {near}Expected one of: {', '.join(folders) or 'none'}."
        )
    return open_local(same[0], split, kind or None)


def _registered(name: str) -> AbsTask:
    try:
        return mteb.get_task(name)
    except KeyError as error:
        near = _suggestion(name, [task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)])
        raise OptionError(
            f"mteb has no task {name!r}. {near}To measure folders of your own, give their parent folder (--data-root)."
        ) from error


def _suggestion(name: str, names: list[str]) -> str:
    lower = {known.lower(): known for known in names}
    found = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    return f"Did you mean {' or '.join(found)}? " if found else ""
