"""From a task's name to mteb's task: a local folder where there is one, mteb's own registry otherwise.

Imported only when mteb is there.
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
    """The task that ``name`` means: ``ROOT/name`` or, without a root, mteb's task of that name.

    Below a root the folder is found whatever the case, and ``name:kind`` chooses what it is measured as, e.g.
    ``banking77:clustering``. Raises `OptionError` with the nearest names where there is no such task.
    """
    if data_root is None:
        return _registered(name)
    root = Path(data_root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; wanted the folder that holds one folder for each task (--data-root)")
    stem, _, kind = name.partition(":")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    same = [folders[stem]] if stem in folders else [p for n, p in folders.items() if n.lower() == stem.lower()]
    if not same:
        near = _near(stem, list(folders))
        raise OptionError(f"{root} has no folder for the task {stem!r}; {near}it has: {', '.join(folders) or 'none'}")
    return open_local(same[0], split, kind or None)


def _registered(name: str) -> AbsTask:
    try:
        return mteb.get_task(name)
    except KeyError as error:
        near = _near(name, [task.metadata.name for task in mteb.get_tasks(exclude_superseded=False)])
        raise OptionError(
            f"mteb has no task {name!r}; {near}to measure on folders of your own, name their parent (--data-root)"
        ) from error


def _near(name: str, names: list[str]) -> str:
    lower = {known.lower(): known for known in names}
    found = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    return f"did you mean {' or '.join(found)}? " if found else ""
