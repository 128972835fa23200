"""Model folders: their JSON files, their weight files, and a hash of the weights that identifies the model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from leafkit.errors import InputError
from leafkit.files.digest import sha256_file
from leafkit.files.json_file import explain_invalid, parse_json, read_bytes, read_json_object

_ADVICE = "Download the model again."


def weights_hash(folder: Path, files: Iterable[Path]) -> str:
    """Return ``sha256:`` and a hash of the weight ``files``: of their contents and their paths below ``folder``.

    The hash does not change when the folder moves. Raises `InputError` if ``files`` is empty.
    """
    files = sorted(files)
    if not files:
        raise InputError(
            f"{folder} contains no weights; expected *.safetensors or *model*.bin. Download the whole model."
        )
    lines = [f"{file.relative_to(folder).as_posix()} {sha256_file(file)}\n" for file in files]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def torch_weight_files(folder: Path) -> list[Path]:
    """Return the weight files that sentence-transformers loads from ``folder``.

    Each module of the model loads its safetensors files, or its bin files if it has no safetensors.
    """
    files: list[Path] = []
    for module in _module_folders(folder):
        files += sorted(module.glob("*.safetensors")) or sorted(module.glob("*model*.bin"))
    return files


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON ``file`` of a model, or {} for a missing file; raise `InputError` if invalid."""
    if not file.is_file():
        return {}
    with explain_invalid(file, expected="a JSON object", advice=_ADVICE, error_type=InputError):
        return read_json_object(file)


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Return the modules listed in ``modules.json``, in order; raise `InputError` if the file is invalid.

    The list is empty for a folder without ``modules.json``.
    """
    file = folder / "modules.json"
    if not file.is_file():
        return []
    with explain_invalid(file, expected="a list of modules", advice=_ADVICE, error_type=InputError):
        modules = parse_json(read_bytes(file))
        if not all(isinstance(module["type"], str) for module in modules):
            raise TypeError("the type of a module is not a string")
        return modules


def package_folder(distribution: str) -> Path:
    """Return the model folder (the one with modules.json) of an installed package, without importing the package.

    Raises `InputError` if the package is not installed or does not contain exactly one model.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError as error:
        raise InputError(f"the package {distribution!r} is not installed. Run: pip install {distribution}") from error
    folders = [Path(str(file.locate())).parent for file in files if file.name == "modules.json"]
    if len(folders) != 1:
        raise InputError(
            f"the package {distribution!r} contains {len(folders)} models (files named modules.json); "
            "expected exactly one."
        )
    return folders[0]


def _module_folders(folder: Path) -> Iterator[Path]:
    for path in dict.fromkeys(module.get("path", "") for module in read_modules(folder)):
        yield folder / path
        # A Router keeps the modules of each route in a folder named after the route.
        for name in read_json(folder / path / "router_config.json").get("types", {}):
            yield folder / path / name
