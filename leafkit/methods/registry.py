"""Systems by name: the folders are the registry, and the entry point ``leafkit.methods`` lets other packages join."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Literal, get_args, get_origin, get_type_hints

from leafkit.errors import OptionError, nearest
from leafkit.methods.system import System

FOLDERS = ("objectives", "feeds", "writers", "topologies", "architectures", "probes")
GROUP = "leafkit.methods"


@cache
def names() -> dict[str, str]:
    """The folder of every system by its name, ours first; an entry point ``folder.name`` adds one."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for module in pkgutil.iter_modules(import_module(f"leafkit.methods.{folder}").__path__):
            if module.name in found:
                raise TypeError(f"{module.name} is a file in {found[module.name]} and in {folder}; a name is for one")
            found[module.name] = folder
    for point in _foreign():
        folder, _, name = point.name.rpartition(".")
        adds = f"the package {point.value.partition(':')[0]} adds {point.name!r} to {GROUP}"
        if folder not in FOLDERS:
            raise OptionError(f"{adds}; wanted FOLDER.NAME with a folder of {', '.join(FOLDERS)}")
        if name in found:
            raise OptionError(f"{adds}, and there is a {name} in {found[name]} already; give it another name")
        found[name] = folder
    return found


@cache
def find(name: str) -> type[System]:
    """The class of the system ``name``; raises `OptionError` with the nearest name for one that there is not."""
    known = names()
    if name not in known:
        raise OptionError(f"there is no method {name!r}; {nearest(name, known)}")
    folder = known[name]
    place = f"leafkit.methods.{folder}.{name}"
    if find_spec(place) is None:
        return next(point for point in _foreign() if point.name == f"{folder}.{name}").load()
    module = import_module(place)
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, System) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise TypeError(f"{module.__name__} holds {len(own)} systems; a file holds one")
    return own[0]


def name_of(system: System) -> str:
    """The name by which ``system`` is found: its entry point's, or that of its file."""
    kind = type(system)
    place = f"{kind.__module__}:{kind.__qualname__}"
    foreign = (point.name.rpartition(".")[2] for point in _foreign() if point.value == place)
    return next(foreign, kind.__module__.rpartition(".")[2])


def folder_of(system: System) -> str:
    """The folder of ``system``, which says what it does."""
    return names()[name_of(system)]


def parse(spec: str | System) -> System:
    """The system that ``name`` or ``name:field=value,field=value`` describes; a system is given back as it is.

    Raises `OptionError` for an unknown name or field, or a value of the wrong type, with the nearest valid one.
    """
    if isinstance(spec, System):
        return spec
    name, _, rest = spec.partition(":")
    kind = find(name.strip())
    hints = fields(kind)
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        field, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not field:
            raise OptionError(f"{spec!r} is not understood at {part!r}; wanted NAME:FIELD=VALUE,FIELD=VALUE")
        if field not in hints:
            raise OptionError(f"{name} has no field {field!r}; {nearest(field, hints)}")
        if field in values:
            raise OptionError(f"{spec!r} gives {field} twice")
        values[field] = _value(f"{name}:{field}", text, hints[field])
    return kind(**values)


def describe(system: System) -> str:
    """The spec that `parse` turns into ``system`` again: its name with the fields that are not at their defaults."""
    given = [
        f"{field.name}={getattr(system, field.name)}"
        for field in dataclasses.fields(system)
        if getattr(system, field.name) != field.default
    ]
    return name_of(system) + (":" + ",".join(given) if given else "")


def fields(kind: type[System]) -> dict[str, Any]:
    """The types of the fields of ``kind`` by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _value(place: str, text: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise OptionError(f"{place} is {text!r}; {nearest(text, get_args(hint))}")
        return text
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise OptionError(f"{place} is {text!r}; wanted true or false")
        return text.lower() == "true"
    words = {int: "a whole number", float: "a number"}
    if hint in words:
        try:
            return hint(text)
        except ValueError:
            raise OptionError(f"{place} is {text!r}; wanted {words[hint]}") from None
    return text


@cache
def _foreign() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))
