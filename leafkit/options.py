"""Options: one dataclass field is one option in Python, on the command line, in recipe files and in the docs.

A class of options subclasses `Options`, and each field carries its help and range::

    @dataclass(frozen=True, kw_only=True)
    class Recipe(Options):
        panel: ClassVar[str] = "Training"

        epochs: Annotated[float, Option("Passes over the texts.", at_least=0)] = 1.0

From that field come the check (`Options` raises `OptionError` for a value outside the range), the keyword argument of
a function decorated with `takes`, the option of a command (`leafkit.cli.options`), the key of a recipe file
(`leafkit.training.recipe_file`) and the row of the docs.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from leafkit.errors import OptionError, nearest

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Group = TypeVar("Group", bound="Options")

_WORDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list of strings",
}
_PATHS = (Path, PathLike)
_UNIONS = (Union, types.UnionType)


@dataclass(frozen=True, kw_only=True)
class Option:
    """The help, range and command-line facts of one option, written into the annotation of its field.

    ``help`` is one or two sentences without the default. ``none`` says in words what the default None means.
    ``at_least``, ``above`` and ``at_most`` bound numbers; ``choices`` lists the values of a string whose type is not a
    ``Literal``. ``flags`` replace the names on the command line; ``commas`` makes the command line take one value with
    commas where Python takes a list; ``may_be_empty`` accepts a list without items.
    """

    help: str = dataclasses.field(kw_only=False)
    none: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    commas: bool = False
    may_be_empty: bool = False


@dataclass(frozen=True, kw_only=True)
class Field:
    """One option: its name, what it accepts and its default, read from a field of an `Options` class.

    ``kinds`` are the accepted types, out of str, bool, int, float and list (of ``items``). ``instances`` are classes
    whose objects Python may pass instead of text. ``optional`` says whether None is accepted, and ``path`` whether text
    becomes a `Path`. ``hint`` is the type as written, without the `Option`.
    """

    name: str
    panel: str
    option: Option
    kinds: frozenset[type]
    instances: tuple[type, ...]
    items: tuple[type, ...]
    optional: bool
    path: bool
    choices: tuple[str, ...]
    default: Any
    hint: Any

    def check(self, value: Any) -> None:
        """Raise `OptionError` unless ``value`` has an accepted type and lies within the option's range."""
        if (value is None and self.optional) or isinstance(value, self.instances):
            return
        if not self._accepts(value):
            raise OptionError(f"{self.name} is {value!r}; expected {self.expected()}")
        if self.choices and value not in self.choices:
            raise OptionError(f"{self.name} is {value!r}; {nearest(str(value), self.choices)}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_range(value)

    def expected(self) -> str:
        """What the option accepts, in words."""
        words = [word for kind, word in _WORDS.items() if kind in self.kinds]
        if int in self.kinds and float in self.kinds:
            words.remove(_WORDS[int])
        if int in self.items:
            words = ["a list of whole numbers" if word == _WORDS[list] else word for word in words]
        return " or ".join(words) + self.bounds()

    def bounds(self) -> str:
        """The range of a number as text, e.g. `` of at least 1``; empty without a range."""
        option = self.option
        parts = [
            f"{word} {bound:g}"
            for word, bound in (("of at least", option.at_least), ("above", option.above), ("at most", option.at_most))
            if bound is not None
        ]
        return " " + " and ".join(parts) if parts else ""

    def _accepts(self, value: Any) -> bool:
        if isinstance(value, list | tuple):
            filled = bool(value) or self.option.may_be_empty
            return list in self.kinds and filled and all(isinstance(item, self.items) for item in value)
        if isinstance(value, PathLike):
            return str in self.kinds
        return type(value) in self.kinds or (
            isinstance(value, int) and not isinstance(value, bool) and float in self.kinds
        )

    def _check_range(self, value: float) -> None:
        option = self.option
        inside = (
            _is_finite(value)
            and (option.at_least is None or value >= option.at_least)
            and (option.above is None or value > option.above)
            and (option.at_most is None or value <= option.at_most)
        )
        if not inside:
            raise OptionError(f"{self.name} is {value!r}; expected {self.expected()}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of more than 308 digits
        return False


class Options:
    """Base of all classes of options: checks every field when an object is made.

    ``panel`` is the heading under which ``--help`` and the docs show the fields.
    """

    panel: ClassVar[str]

    def __post_init__(self) -> None:
        """Raise `OptionError` naming the first field that has a value outside its type or range.

        Text becomes a `Path` in a field whose type is one.
        """
        for name, field in fields_of(type(self)).items():
            value = getattr(self, name)
            field.check(value)
            if field.path and isinstance(value, str):
                object.__setattr__(self, name, Path(value))

    def only(self, group: type[Options]) -> dict[str, Any]:
        """Return the values of the fields that ``group`` also has, as keyword arguments."""
        return {name: getattr(self, name) for name in fields_of(group)}

    def given(self) -> set[str]:
        """The names of the options that differ from their defaults."""
        return {name for name, field in fields_of(type(self)).items() if getattr(self, name) != field.default}


@cache
def fields_of(group: type[Options]) -> dict[str, Field]:
    """Return the options of ``group`` by name, in the order in which they are written."""
    hints = get_type_hints(group, include_extras=True)
    return {
        field.name: _field(field.name, hints[field.name], field.default, group.panel)
        for field in dataclasses.fields(group)  # type: ignore[arg-type]  # every subclass is a dataclass
    }


def all_fields(groups: Sequence[type[Options]]) -> dict[str, Field]:
    """Return the options of several ``groups`` together; raise `TypeError` if two options share a name."""
    found: dict[str, Field] = {}
    for group in groups:
        for name, field in fields_of(group).items():
            if name in found:
                raise TypeError(f"the option {name} is written twice: in {found[name].panel} and in {field.panel}")
            found[name] = field
    return found


def takes(*groups: type[Options]) -> Callable[[Decorated], Decorated]:
    """Make the fields of ``groups`` the keyword arguments of a function that ends in ``**options``.

    A call with another keyword raises `OptionError` naming the nearest option. ``help()`` shows every option, in the
    signature and in the docstring. The function body turns ``options`` into objects of ``groups`` with `options_of`.
    """

    def decorate(function: Decorated) -> Decorated:
        fields = all_fields(groups)
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        arguments = {parameter.name for parameter in own}

        @functools.wraps(function)
        def run(*given: Any, **options: Any) -> Any:
            names = {name: value for name, value in options.items() if name not in arguments}
            check_names(names, groups, owner=function.__name__)
            return function(*given, **options)

        added = [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.hint)
            for field in fields.values()
        ]
        run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        lines = [f"    {field.name}: {help_text(field)}" for field in fields.values()]
        run.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Options:", *lines])
        return cast(Decorated, run)

    return decorate


def help_text(field: Field) -> str:
    """Return the help of an option; if the default is None, the help ends with what None means."""
    return field.option.help + (f" (default: {field.option.none})" if field.option.none else "")


def check_names(options: Mapping[str, Any], groups: Sequence[type[Options]], *, owner: str) -> None:
    """Raise `OptionError` for the first of ``options`` that none of ``groups`` has, naming the nearest one.

    ``owner`` is the function or command that the message names.
    """
    known = all_fields(groups)
    for name in options:
        if name not in known:
            raise OptionError(f"{owner} has no option {name!r}; {nearest(name, known)}")


def options_of(group: type[Group], options: Mapping[str, Any]) -> Group:
    """Make an object of ``group`` from those ``options`` that are fields of it; the others are ignored."""
    return group(**{name: options[name] for name in fields_of(group) if name in options})


def without(group: type[Options], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those ``options`` that are not fields of ``group``."""
    return {name: value for name, value in options.items() if name not in fields_of(group)}


def _field(name: str, hint: Any, default: Any, panel: str) -> Field:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"the option {name} has no Option(...) in its annotation")
    inner, option, *_ = get_args(hint)
    parts = get_args(inner) if get_origin(inner) in _UNIONS else (inner,)
    choices: tuple[str, ...] = option.choices
    kinds: set[type] = set()
    items: tuple[type, ...] = ()
    instances = tuple(part for part in parts if isinstance(part, type) and part not in (*_WORDS, *_PATHS, type(None)))
    for part in parts:
        if get_origin(part) is Literal:
            choices = get_args(part)
            kinds.add(str)
        elif get_origin(part) in (list, Sequence):
            kinds.add(list)
            listed = get_args(part)[0]
            items = get_args(listed) if get_origin(listed) in _UNIONS else (listed,)
            items = (*items, PathLike) if str in items else items
        elif part in _PATHS or get_origin(part) is PathLike:
            kinds.add(str)
        elif part in _WORDS:
            kinds.add(part)
    if not kinds:
        raise TypeError(f"the option {name} has the type {inner}, which no command line takes")
    return Field(
        name=name,
        panel=panel,
        option=option,
        kinds=frozenset(kinds),
        instances=instances,
        items=items,
        optional=type(None) in parts,
        path=Path in parts,
        choices=choices,
        default=default,
        hint=inner,
    )
