"""Students and recipes that ship with leafkit (data of the package leafkit.models), found by name."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path

_STUDENT = "leafkit.json"

log = logging.getLogger("leafkit")


def resolve_student(name: str | PathLike[str]) -> Path:
    """Return the folder of the shipped student ``name``; an existing path or an unknown name is returned unchanged."""
    path = Path(name)
    if len(path.parts) != 1:
        return path
    shipped = next((folder / path for folder in _model_folders() if (folder / path / _STUDENT).is_file()), path)
    if not path.exists():
        return shipped
    if fspath(name) == shipped.name and not path.samefile(shipped):
        _warn_of_local(path)
    return path


@cache
def _warn_of_local(path: Path) -> None:
    """Say once that ``path`` in the current folder is used, which has the name of a student that ships."""
    log.warning("using %s in the current folder, not the student of that name that ships with leafkit", path)


def resolve_recipe(name: str | PathLike[str]) -> Path:
    """Return the file of the shipped recipe ``name``; an existing path or an unknown name is returned unchanged."""
    path = Path(name)
    if path.exists() or len(path.parts) != 1:
        return path
    shipped = (folder / "recipes" / f"{path}.toml" for folder in _model_folders())
    return next((file for file in shipped if file.is_file()), path)


def shipped_students() -> list[str]:
    """Return the names of the shipped students, sorted."""
    return sorted(file.parent.name for folder in _model_folders() for file in folder.glob(f"*/{_STUDENT}"))


def shipped_recipes() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(file.stem for folder in _model_folders() for file in (folder / "recipes").glob("*.toml"))


def shipped_hint(path: Path) -> str:
    """Return a line that lists the shipped students, to append to the error about a student missing at ``path``.

    The line is empty if something exists at ``path`` or if no students ship.
    """
    names = shipped_students()
    return "" if path.exists() or not names else f"\nStudents that ship with leafkit: {', '.join(names)}."


def _model_folders() -> list[Path]:
    # find_spec finds the package leafkit.models without importing it. In an editable install its folder may lie outside
    # the folder of leafkit.
    spec = find_spec("leafkit.models")
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
