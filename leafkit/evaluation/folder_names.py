"""Short names that tell folders apart."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError

Paths = str | PathLike[str] | Sequence[str | PathLike[str]] | None
"""One folder or several, as the public functions take them."""


def as_paths(paths: Paths) -> list[Path]:
    """``paths`` as a list, whether one, several or none were given."""
    if paths is None:
        return []
    return [Path(paths)] if isinstance(paths, str | PathLike) else [Path(path) for path in paths]


def distinct_names(folders: Sequence[Path], *, what: str) -> list[str]:
    """Each folder's name, with as many parents as it takes to tell all apart.

    Raises `OptionError` saying ``what`` is given twice where two are the same folder.
    """
    parts = [folder.resolve().parts for folder in folders]
    if twice := next((folder for folder, part in zip(folders, parts, strict=True) if parts.count(part) > 1), None):
        raise OptionError(f"the {what} {twice} is given twice; name each {what} once")
    for depth in range(1, max(map(len, parts), default=0)):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder.resolve()) for folder in folders]
