"""Which folder holds the data of a task that mteb knows under another name, e.g. ``stsb-en`` for ``STSBenchmark``.

A task goes by its name, by its name without the kind of task (Banking77Classification: banking77) and by the name of
its dataset (mteb/stsbenchmark-sts). A folder goes by its name and by the parts of the heading of its README.md or
SOURCE.md (``# stsb-en (STS Benchmark, English)``). It also goes by a dataset that this file names in full.

Import this module only if mteb is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import mteb
from mteb.abstasks.task_metadata import TaskMetadata

NOTES = ("README.md", "SOURCE.md")
MOST_BYTES = 65_536  # of a README.md or SOURCE.md
_KIND = re.compile(r"(classification|clustering|retrieval|reranking|sts)$")


def registered(name: str) -> TaskMetadata | None:
    """Return mteb's metadata of the task ``name``, or None if mteb has no such task."""
    try:
        return mteb.get_task(name).metadata
    except KeyError:
        return None


def matching_folders(name: str, task: TaskMetadata | None, folders: Iterable[Path]) -> list[Path]:
    """Return those ``folders`` that go by the name of the task ``name``, whose metadata is ``task`` if mteb has it."""
    wanted = _names_of_task(name, task)
    dataset = "" if task is None else str(task.dataset["path"]).lower()
    return [folder for folder in folders if wanted & _names_of_folder(folder) or _names_dataset(folder, dataset)]


def _names_of_task(name: str, task: TaskMetadata | None) -> set[str]:
    names = [name] if task is None else [name, task.name, str(task.dataset["path"]).rpartition("/")[2]]
    plain = {_plain(re.sub(r"\.v\d+$", "", name)) for name in names}
    return plain | {_KIND.sub("", name) for name in plain} - {""}


def _names_of_folder(folder: Path) -> set[str]:
    headings = [line for note in _notes(folder) for line in note.splitlines()[:1]]
    parts = [part for heading in headings for part in re.split(r"[(),:;]", heading)]
    return {_plain(name) for name in (folder.name, *parts)} - {""}


def _names_dataset(folder: Path, dataset: str) -> bool:
    """Tell whether a note in ``folder`` contains ``dataset`` (owner/name) as a word."""
    word = re.compile(rf"(?<![\w/.-]){re.escape(dataset)}(?![\w/-])")
    return bool(dataset) and any(word.search(note.lower()) for note in _notes(folder))


def _notes(folder: Path) -> list[str]:
    texts = []
    for file in (folder / name for name in NOTES):
        if file.is_file():
            with file.open("rb") as opened:
                texts.append(opened.read(MOST_BYTES).decode("utf-8", "replace"))
    return texts


def _plain(name: str) -> str:
    """Return ``name`` in lower case without anything but letters and digits."""
    return re.sub(r"[\W_]+", "", name.lower())
