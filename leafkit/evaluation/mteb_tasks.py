"""Find a task by name: in a local folder, or in mteb's own registry.

Import this module only if mteb is installed.
"""

from __future__ import annotations

import difflib
import logging
from os import PathLike
from pathlib import Path

import mteb
from mteb.abstasks import AbsTask

from leafkit.errors import InputError, OptionError
from leafkit.evaluation.mteb_folder_names import matching_folders, registered
from leafkit.evaluation.mteb_local_tasks import open_local

log = logging.getLogger("leafkit")


def find_task(name: str, data_root: str | PathLike[str] | None, split: str) -> AbsTask:
    """Return the task in the folder ``data_root/name``, or mteb's task called ``name`` if ``data_root`` is None.

    Below ``data_root`` the case of the name does not matter, mteb's own name finds a folder of another name
    (`leafkit.evaluation.mteb_folder_names`), and ``name:kind`` measures a folder as another kind of task, e.g.
    ``banking77:clustering``. Raises `OptionError` with the nearest names if there is no such task.
    """
    if data_root is None:
        return _registered(name)
    root = Path(data_root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; expected the parent folder of the tasks' folders (--data-root).")
    stem, _, kind = name.partition(":")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    same = [folders[stem]] if stem in folders else [p for n, p in folders.items() if n.lower() == stem.lower()]
    return open_local(same[0] if same else _known_by_mteb(root, stem, list(folders.values())), split, kind or None)


def _known_by_mteb(root: Path, name: str, folders: list[Path]) -> Path:
    """Return the one of ``folders`` that holds the data of the task that mteb calls ``name``."""
    task = registered(name)
    found = matching_folders(name, task, folders)
    if len(found) == 1:
        log.info("measuring %s on the folder %s", name, found[0])
        return found[0]
    if found:
        raise OptionError(
            f"{root} has several folders for the task {name!r}: {', '.join(folder.name for folder in found)}. "
            "Name the folder itself."
        )
    names = [folder.name for folder in folders]
    facts = "" if task is None else f"{task.name} is mteb's {task.type} task on the dataset {task.dataset['path']}. "
    raise OptionError(
        f"{root} has no folder for the task {name!r}. {facts}{_suggestion(name, names)}Expected one of: "
        f"{', '.join(names) or 'none'}. A folder is also found by the heading of its README.md or SOURCE.md."
    )


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
