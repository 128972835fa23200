"""Recipe files: the options of ``leafkit distill`` in TOML, to run a distillation again by name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OptionError, nearest
from leafkit.files.json_file import read_bytes
from leafkit.methods.options import MethodOptions
from leafkit.methods.plan import make_plan
from leafkit.methods.registry import parse_method
from leafkit.options import Field, all_fields, check_names
from leafkit.shipped import resolve_recipe, shipped_recipes
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.training.recipe import DistillArguments, Recipe, RunOptions

# Every option of `leafkit.distill`, of ``leafkit distill`` and of a recipe file.
DISTILL_OPTIONS = (MethodOptions, Recipe, TextOptions, TeacherOptions, RunOptions)
_KEYS = (DistillArguments, *DISTILL_OPTIONS)

# Limits on a recipe file, so that parsing takes at most about 200 MB and 2 seconds: tomllib needs memory that grows
# with the square of the parts of a dotted key, which fills one line.
MOST_BYTES = 1 << 17
MOST_DOTS = 500


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
            _check_value(name, value, fields)
        except OptionError as error:
            raise OptionError(f"{path}:{_line(text, name)}: {error}") from error
    _check_methods(path, text, options)
    lists = {name for name, field in fields.items() if list in field.kinds}
    options = {name: [value] if name in lists and isinstance(value, str) else value for name, value in options.items()}
    return ({"student": None} if "architecture" in options else {}) | options


def _read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text and the parsed content of ``path``; raise `InputError` with the line of a TOML error."""
    try:
        text = read_bytes(path, most_bytes=MOST_BYTES).decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError as error:
        hint = f" ({nearest(path.name, shipped_recipes())})" if len(path.parts) == 1 else ""
        raise InputError(f"{path} cannot be read as a recipe: there is no such file{hint}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MOST_DOTS:
            raise InputError(f"{path}:{number}: the line has more than {MOST_DOTS} dots. Write it as several lines.")
    try:
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also integers of 4,300 digits, and thousands of brackets
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else len(text.splitlines())
        raise InputError(f"{path}:{line}: the recipe is not valid TOML: {error}") from error


def _check_value(name: str, value: Any, fields: Mapping[str, Field]) -> None:
    """Raise `OptionError` for an unknown option, a wrong value, or an option that no recipe may set."""
    check_names({name: value}, _KEYS, owner="leafkit distill")
    if name == "trust_remote_code":
        # A recipe may come from a stranger, so it must not let code run.
        raise OptionError(
            "a recipe cannot set trust_remote_code. Remove the line and, if you trust the teacher's code, add "
            "--trust-remote-code on the command line (in Python: trust_remote_code=True)."
        )
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, str) and re.search(r"\bapi:\S*://", part) for part in parts):
        # It also names the texts, so it could send files of this machine anywhere.
        raise OptionError(
            f"a recipe cannot set {name} to a server's address. Remove the line and, if you trust this server, add "
            "--teacher on the command line (in Python: teacher=...)."
        )
    if any(isinstance(part, dict | list) for part in parts):
        # Named by its type, because tables in tables cannot be printed to any depth.
        raise OptionError(f"{name} holds a table or a list of lists; expected {fields[name].expected()}")
    if any(isinstance(part, str) and "\0" in part for part in parts):
        raise OptionError(f"{name} holds a NUL character, which no path and no text has. Remove it.")
    fields[name].check(value)


def _check_methods(path: Path, text: str, options: Mapping[str, Any]) -> None:
    """Raise `OptionError` with the line of an unknown method, or of methods that cannot be combined."""
    lists = {name: options.get(name, []) for name in ("methods", "feeds", "writers")}
    specs = [*(spec for listed in lists.values() for spec in listed), *filter(None, [options.get("architecture")])]
    for spec in specs:
        try:
            parse_method(spec)
        except OptionError as error:
            # A name with an escape sequence stands in no line as it reads.
            line = next((number for number, line in enumerate(text.splitlines(), 1) if spec in line), 1)
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
