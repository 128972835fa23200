"""Look up methods by name, and turn method specs (``name:field=value,field=value``) into methods and back.

The folders are the registry: the method NAME is the file ``leafkit/methods/FOLDER/NAME.py``. Another package adds a
method through the entry-point group ``leafkit.methods``, e.g. ``objectives.NAME = "package.NAME:Class"``.
"""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Literal, get_args, get_origin, get_type_hints

from leafkit.errors import OptionError, nearest
from leafkit.methods.method import Method

FOLDERS = ("objectives", "feeds", "writers", "topologies", "architectures", "probes")
GROUP = "leafkit.methods"
# A comma that is not inside parentheses.
_SEPARATOR = re.compile(r",(?![^()]*\))")


@cache
def method_folders() -> dict[str, str]:
    """Return the folder of every installed method by name; leafkit's own methods come first.

    Raises `OptionError` for an entry point with an unknown folder, or with a name that is taken.
    """
    folders: dict[str, str] = {}
    for folder in FOLDERS:
        for module in pkgutil.iter_modules(import_module(f"leafkit.methods.{folder}").__path__):
            if module.name in folders:
                raise TypeError(f"the method {module.name} has a file in {folders[module.name]} and one in {folder}")
            folders[module.name] = folder
    for point in _entry_points():
        folder, _, name = point.name.rpartition(".")
        added = f"the package {point.value.partition(':')[0]} adds the entry point {point.name!r} to {GROUP}"
        if folder not in FOLDERS:
            raise OptionError(f"{added}; expected FOLDER.NAME, where FOLDER is one of {', '.join(FOLDERS)}")
        if name in folders:
            raise OptionError(f"{added}, but {folders[name]} already has a method {name}. Choose another name.")
        folders[name] = folder
    return folders


@cache
def method_class(name: str) -> type[Method]:
    """Return the class of the method ``name``; raise `OptionError` with the nearest name if there is none."""
    folders = method_folders()
    if name not in folders:
        raise OptionError(f"there is no method {name!r}; {nearest(name, folders)}")
    path = f"leafkit.methods.{folders[name]}.{name}"
    if find_spec(path) is None:
        return next(point for point in _entry_points() if point.name == f"{folders[name]}.{name}").load()
    module = import_module(path)
    defined = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(defined) != 1:
        raise TypeError(f"{module.__name__} defines {len(defined)} methods; expected one in each file")
    return defined[0]


def method_name(method: Method) -> str:
    """Return the name of ``method``: the name of its entry point, or else of its file."""
    cls = type(method)
    path = f"{cls.__module__}:{cls.__qualname__}"
    added = (point.name.rpartition(".")[2] for point in _entry_points() if point.value == path)
    return next(added, cls.__module__.rpartition(".")[2])


def check_option(method: Method, option: str) -> None:
    """Raise `OptionError` naming the right option unless methods of this kind are given as ``option``."""
    if method.option == option:
        return
    article = "an" if method.kind[0] in "aeiou" else "a"
    raise OptionError(
        f"{method_name(method)} is {article} {method.kind}, which {_flag(option)} does not accept. "
        f"Use {_flag(method.option)}."
    )


def parse_method(spec: str | Method) -> Method:
    """Return the method that ``spec`` (``name`` or ``name:field=value,field=value``) describes; keep a method as given.

    A value with commas is put in parentheses, as in ``bdkd:peer=(teacher:layers=3,pooling=mean)``.
    Raises `OptionError` for an unknown name or field, naming the nearest one, and for a value of the wrong type.
    """
    if isinstance(spec, Method):
        return spec
    name, _, rest = spec.partition(":")
    cls = method_class(name.strip())
    types = field_types(cls)
    values: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in _SEPARATOR.split(rest))):
        field, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not field:
            raise OptionError(f"cannot read {part!r} in {spec!r}; expected NAME:FIELD=VALUE,FIELD=VALUE")
        if field not in types:
            raise OptionError(f"{name} has no field {field!r}; {nearest(field, types)}")
        if field in values:
            raise OptionError(f"{spec!r} gives {field} twice. Remove one of the two.")
        values[field] = _parse_value(f"{name}:{field}", text, types[field])
    return cls(**values)


def method_spec(method: Method) -> str:
    """Return the spec that `parse_method` turns into ``method`` again: its name and its non-default fields."""
    values = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    given = [
        f"{field.name}=({value})" if "," in str(value) else f"{field.name}={value}"
        for field in dataclasses.fields(method)
        if (value := values[field.name]) != field.default
    ]
    return method_name(method) + (":" + ",".join(given) if given else "")


def field_types(cls: type[Method]) -> dict[str, Any]:
    """Return the types of the fields of the method class ``cls`` by name."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _parse_value(field: str, text: str, hint: Any) -> Any:
    """Return ``text`` as a value of the type ``hint``; ``field`` (``name:field``) is for the error message."""
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise OptionError(f"{field} is {text!r}; {nearest(text, get_args(hint))}")
        return text
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise OptionError(f"{field} is {text!r}; expected true or false")
        return text.lower() == "true"
    words = {int: "a whole number", float: "a number"}
    if hint in words:
        try:
            return hint(text)
        except ValueError:
            raise OptionError(f"{field} is {text!r}; expected {words[hint]}") from None
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text


def _flag(option: str) -> str:
    """Return the name of an argument of `leafkit.distill` together with its command-line option."""
    return f"`{option}` (--{option.removesuffix('s')})"


@cache
def _entry_points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))
