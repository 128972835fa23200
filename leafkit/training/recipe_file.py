"""Recipe files: the options of ``leafkit distill`` in TOML, to run a distillation again by name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OptionError
from leafkit.methods.options import MethodOptions
from leafkit.methods.plan import make_plan
from leafkit.methods.registry import parse_method
from leafkit.options import all_fields, check_names
from leafkit.shipped import resolve_recipe
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.training.recipe import DistillArguments, Recipe, RunOptions

# Every option of `leafkit.distill`, of ``leafkit distill`` and of a recipe file.
DISTILL_OPTIONS = (MethodOptions, Recipe, TextOptions, TeacherOptions, RunOptions)
_KEYS = (DistillArguments, *DISTILL_OPTIONS)


def read_recipe(path: str | PathLike[str]) -> dict[str, Any]:
    """Read and check the arguments of `leafkit.distill` from the recipe at ``path``.

    Use it as ``leafkit.distill(**leafkit.read_recipe(path))``. ``path`` is a file or the name of a recipe that ships,
    e.g. ``bge-small-leaf``. Relative paths in the recipe start from the current folder. ``student`` is None if an
    ``architecture`` search finds it.

    Raises `OptionError` naming file, line and the nearest valid name for an unknown key or a wrong value, also for
    ``trust_remote_code``, which only the caller can set, and `InputError` for a file that is not TOML.
    """
    path = resolve_recipe(path)
    text, options = _read_toml(path)
    fields = all_fields(_KEYS)
    for name, value in options.items():
        try:
            check_names({name: value}, _KEYS, owner="leafkit distill")
            fields[name].check(value)
            _refuse_trust(name)
        except OptionError as error:
            raise OptionError(f"{path}:{_line(text, name)}: {error}") from error
    _check_methods(path, text, options)
    lists = {name for name, field in fields.items() if list in field.kinds}
    options = {name: [value] if name in lists and isinstance(value, str) else value for name, value in options.items()}
    return ({"student": None} if "architecture" in options else {}) | options


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text and the parsed content of ``path``; raise `InputError` with the line of a TOML error."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {error}") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else len(text.splitlines())
        raise InputError(f"{path}:{line}: the recipe is not valid TOML: {error}") from error


def _refuse_trust(name: str) -> None:
    """Raise `OptionError` for ``trust_remote_code``: a recipe may come from a stranger and must not let code run."""
    if name == "trust_remote_code":
        raise OptionError(
            "a recipe cannot set trust_remote_code. Remove the line and, if you trust the teacher's code, add "
            "--trust-remote-code on the command line (in Python: trust_remote_code=True)."
        )


def _check_methods(path: Path, text: str, options: Mapping[str, Any]) -> None:
    """Raise `OptionError` with the line of an unknown method, or of methods that cannot be combined."""
    lists = {name: options.get(name, []) for name in ("methods", "feeds", "writers")}
    specs = [*(spec for listed in lists.values() for spec in listed), *filter(None, [options.get("architecture")])]
    for spec in specs:
        try:
            parse_method(spec)
        except OptionError as error:
            line = next(number for number, line in enumerate(text.splitlines(), 1) if spec in line)
            raise OptionError(f"{path}:{line}: {error}") from error
    try:
        make_plan(lists["methods"], lists["feeds"], lists["writers"])
    except OptionError as error:
        first = next(name for name, listed in lists.items() if listed)
        raise OptionError(f"{path}:{_line(text, first)}: {error}") from error


def _line(text: str, name: str) -> int:
    """Return the number of the line where the key or table ``name`` begins, which tomllib does not report."""
    begins = re.compile(rf"\s*\[*\s*[\"']?{re.escape(name)}\b")
    return next((number for number, line in enumerate(text.splitlines(), 1) if begins.match(line)), 1)
