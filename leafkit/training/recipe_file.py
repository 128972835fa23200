"""A recipe on disk: a TOML file with everything that `leafkit distill` is told, to be run again by name."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from leafkit.errors import InputError, OptionError, nearest
from leafkit.methods.plan import make_plan
from leafkit.methods.registry import parse_method
from leafkit.shipped import resolve_recipe
from leafkit.teachers.options import POOLINGS, TeacherOptions
from leafkit.training.recipe import Recipe
from leafkit.types import ROLES
from leafkit.vectors.store import DTYPES

# Values that a signature does not spell out.
_CHOICES: dict[str, tuple[str, ...]] = {"role": ROLES, "store_dtype": tuple(DTYPES), "pooling": POOLINGS}
_LISTS = ("texts", "valid", "methods", "feeds", "writers")
_WORDS = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", list: "a list of strings"}


def read_recipe(path: str | PathLike[str]) -> dict[str, Any]:
    """The arguments of `leafkit.distill` in the recipe at ``path``: ``leafkit.distill(**leafkit.read_recipe(path))``.

    ``path`` is a file, or the name of a recipe that ships, e.g. ``bge-small-leaf``.
    Where the recipe has options for the teacher, ``teacher`` is a function that opens it with them. Relative paths
    are meant from the current folder. Raises `OptionError` naming file and line for a field or value that
    `leafkit distill` does not take, `InputError` for a file that is no TOML.
    """
    from leafkit.teachers.open import open_teacher

    options = read_options(path)
    opening = {name: options[name] for name in get_type_hints(TeacherOptions) if name in options}
    if opening and "teacher" in options:
        options["teacher"] = partial(open_teacher, options["teacher"], **opening)
    if "architecture" in options:
        options.setdefault("student", None)
    return {name: value for name, value in options.items() if name in _arguments()}


def read_options(path: str | PathLike[str]) -> dict[str, Any]:
    """The options of ``leafkit distill`` as the recipe at ``path`` gives them, each checked; see `read_recipe`."""
    path = resolve_recipe(path)
    try:
        text = path.read_text(encoding="utf-8")
        options = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = found[1] if found else len(text.splitlines())
        raise InputError(f"{path}:{line}: this is not TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {error}") from error
    for name, value in options.items():
        try:
            _check(name, value)
        except OptionError as error:
            raise OptionError(f"{path}:{_line(text, name)}: {error}") from error
    _check_systems(path, text, options)
    return {name: [value] if name in _LISTS and isinstance(value, str) else value for name, value in options.items()}


@cache
def _arguments() -> dict[str, Any]:
    """What `leafkit.distill` takes, by name, with the type of each."""
    from leafkit.training.distill import distill

    return {name: hint for name, hint in get_type_hints(distill).items() if name != "return"}


def _check(name: str, value: object) -> None:
    known = _arguments() | get_type_hints(TeacherOptions)
    if name not in known:
        raise OptionError(f"leafkit distill has no option {name!r}; {nearest(name, known)}")
    kinds, choices = _accepted(name, known[name])
    if not _fits(value, kinds):
        wanted = " or ".join(_WORDS[kind] for kind in _WORDS if kind in kinds)
        raise OptionError(f"{name} is {value!r}; wanted {wanted}")
    if choices and value not in choices:
        raise OptionError(f"{name} is {value!r}; {nearest(str(value), choices)}")
    for owner in (Recipe, TeacherOptions):
        if name in get_type_hints(owner):
            owner(**{name: value})


def _check_systems(path: Path, text: str, options: dict[str, Any]) -> None:
    """Raise `OptionError` with the line of a system that there is not, or of systems that cannot work together."""
    methods, feeds, writers = (options.get(name, []) for name in ("methods", "feeds", "writers"))
    for spec in (*methods, *feeds, *writers, *filter(None, [options.get("architecture")])):
        try:
            parse_method(spec)
        except OptionError as error:
            line = next(number for number, line in enumerate(text.splitlines(), 1) if spec in line)
            raise OptionError(f"{path}:{line}: {error}") from error
    try:
        make_plan(methods, feeds, writers)
    except OptionError as error:
        given = next(name for name in ("methods", "feeds", "writers") if name in options)
        raise OptionError(f"{path}:{_line(text, given)}: {error}") from error


def _accepted(name: str, hint: Any) -> tuple[set[type], Sequence[str]]:
    """The TOML types that the argument ``name`` takes, and its values where they are named; none if any will do."""
    if get_origin(hint) is Literal:
        return {str}, get_args(hint)
    parts = set(get_args(hint)) or {hint}
    kinds = {list} if name in _LISTS else set()
    kinds |= {str if part in (Path, PathLike[str]) else part for part in parts} & {str, bool, int, float}
    return kinds, _CHOICES.get(name, ())


def _fits(value: object, kinds: set[type]) -> bool:
    if isinstance(value, list):
        return list in kinds and bool(value) and all(isinstance(part, str) for part in value)
    return type(value) in kinds or (type(value) is int and float in kinds)


def _line(text: str, name: str) -> int:
    """The line where the field or table ``name`` begins: tomllib does not say."""
    begins = re.compile(rf"\s*\[*\s*[\"']?{re.escape(name)}\b")
    return next((number for number, line in enumerate(text.splitlines(), 1) if begins.match(line)), 1)
