"""Short names for folders that are distinct from each other."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError

Paths = str | PathLike[str] | Sequence[str | PathLike[str]] | None
"""One folder, several or none, as the public functions accept them."""


def as_paths(paths: Paths) -> list[Path]:
    """Return ``paths`` as a list, whether one path, several or none are given."""
    if paths is None:
        return []
    return [Path(paths)] if isinstance(paths, str | PathLike) else [Path(path) for path in paths]


def distinct_names(folders: Sequence[Path], *, what: str) -> list[str]:
    """Return each folder's name, preceded by as many parent folders as are needed to make all names distinct.

    ``what`` is the noun for error messages, e.g. student. Raises `OptionError` if two paths are the same folder.
    """
    parts = [folder.resolve().parts for folder in folders]
    if twice := next((folder for folder, part in zip(folders, parts, strict=True) if parts.count(part) > 1), None):
        raise OptionError(f"the {what} {twice} is given twice; expected each {what} once. Remove the repetition.")
    for depth in range(1, max(map(len, parts), default=0)):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder.resolve()) for folder in folders]
