"""leafkit update: add and remove documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Cache, TeacherFlags, TextOptions, spread_options


@spread_options
def update(
    index: Annotated[Path, typer.Argument(help="The index folder.", show_default=False)],
    text_options: TextOptions,
    teacher_flags: TeacherFlags,
    add: Annotated[list[str] | None, typer.Option(help="Documents to add; may be given several times.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Id to remove, or @FILE with an id a line; may be given several times.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Added documents replace those with their ids.")] = False,
    compact: Annotated[
        bool | None,
        typer.Option(help="Rewrite the index without its removed documents, or not  [default: once it pays]"),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="The teacher  [default: the one the index was built with]")
    ] = None,
    cache: Cache = None,
) -> None:
    """Add documents to an index and remove others, without building it again.

    The old index serves until the new one stands complete; a stopped update changes nothing.

    \b
    leafkit update docs.index --add new.jsonl
    leafkit update docs.index --remove doc-17 --remove @old-ids.txt
    """
    from leafkit.index.update import read_ids, update_index

    counts = update_index(
        index,
        add=add,
        remove=list(read_ids(remove or [])),
        compact=compact,
        replace=replace,
        teacher=teacher,
        teacher_options=teacher_flags.chosen(),
        cache=cache,
        **dataclasses.asdict(text_options),
    )
    typer.echo(counts)
