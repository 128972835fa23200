"""What ships with leafkit and is opened by its name: students and recipes, data below the package leafkit.models."""

from __future__ import annotations

from importlib.util import find_spec
from os import PathLike
from pathlib import Path

_STUDENT = "leafkit.json"


def resolve_student(name: str | PathLike[str]) -> Path:
    """The student ``name``: a path that exists, else the folder of that name that ships, else the path as it is."""
    path = Path(name)
    if path.exists() or len(path.parts) != 1:
        return path
    return next((folder / path for folder in _folders() if (folder / path / _STUDENT).is_file()), path)


def resolve_recipe(name: str | PathLike[str]) -> Path:
    """The recipe ``name``: a path that exists, else the file ``name``.toml that ships, else the path as it is."""
    path = Path(name)
    if path.exists() or len(path.parts) != 1:
        return path
    found = (folder / "recipes" / f"{path}.toml" for folder in _folders())
    return next((file for file in found if file.is_file()), path)


def shipped_students() -> list[str]:
    """The names of the students that ship."""
    return sorted(file.parent.name for folder in _folders() for file in folder.glob(f"*/{_STUDENT}"))


def shipped_hint(path: Path) -> str:
    """The end of a message about a student that is not at ``path``: which there are by name, if any."""
    return "" if path.exists() or not shipped_students() else f"; by name there is {', '.join(shipped_students())}"


def _folders() -> list[Path]:
    # By its spec alone: the core imports none of the other packages, and an editable install keeps them elsewhere.
    spec = find_spec("leafkit.models")
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
