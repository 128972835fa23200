"""Command-line options, made from the option classes of the toolkit."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leafkit.errors import OptionError
from leafkit.options import Field, Options, all_fields, fields_of, help_text
from leafkit.training.recipe import DistillArguments

if TYPE_CHECKING:
    from leafkit.types import Encoder

Indexes = Annotated[list[str], typer.Argument(help="Index folders, each FOLDER or NAME=FOLDER.", show_default=False)]
OtherEncoder = Annotated[
    Path | None,
    typer.Option(
        help="Another student of the same space to use instead of the ones in the indexes: a folder or a name."
    ),
]
Verify = Annotated[bool, typer.Option(help="First check every file of an index against its hash.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_recorded_teacher(index: Path) -> Encoder:
    """Open the teacher that ``index`` records. What it needs, torch among it, is imported only now."""
    from leafkit.index.recorded_teacher import open_index_teacher

    return open_index_teacher(index)


def argument_help(name: str) -> str:
    """Return the help of an argument of ``leafkit distill`` that several commands share."""
    return fields_of(DistillArguments)[name].option.help


Teacher = Annotated[str, typer.Option(help=argument_help("teacher"), show_default=False)]


def _use_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of the recipe the defaults of the command's options, required ones included."""
    if path is not None:
        from leafkit.training.recipe_file import read_recipe

        context.default_map = {**(context.default_map or {}), **read_recipe(path)}
    return path


Recipe = Annotated[
    Path | None,
    typer.Option(
        help="A TOML file whose keys are the options of this command (plus texts), e.g. learning_rate = 3e-4. Options "
        "on the command line override it.",
        callback=_use_recipe,
        is_eager=True,
    ),
]


def with_options(*groups: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that ends in ``**options`` one option for each field of ``groups``."""
    fields = all_fields(groups)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        named = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in named]
        parameters += [_parameter(field) for field in fields.values()]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            command(**{name: _value(fields[name], value) if name in fields else value for name, value in given.items()})

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _parameter(field: Field) -> inspect.Parameter:
    """Return the parameter that typer turns into the command-line option of ``field``."""
    if list in field.kinds:
        kind: Any = str if field.option.commas else list[str]
    else:
        kind = next(kind for kind in (str, float, int, bool) if kind in field.kinds)
    option = typer.Option(*field.option.flags, help=help_text(field), rich_help_panel=field.panel)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[kind | None if field.optional else kind, option],
    )


def _value(field: Field, value: Any) -> Any:
    """Return the value of a command-line option as Python takes it: text with commas becomes a list."""
    if value is None or not field.option.commas:
        return value
    parts = value.split(",")
    if int not in field.items:
        return parts
    try:
        return [int(part) for part in parts]
    except ValueError as error:
        raise OptionError(
            f"--{field.name} is {value!r}; expected whole numbers separated by commas, e.g. 384,128."
        ) from error
