"""leafkit update: add documents to an index and remove documents from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.files.options import CacheOptions
from leafkit.index.options import UpdateOptions
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import ReadingOptions


@with_options(UpdateOptions, ReadingOptions, TeacherOptions, CacheOptions)
def update(
    index: Annotated[Path, typer.Argument(help="The index folder.", show_default=False)],
    add: Annotated[list[str] | None, typer.Option(help="Documents to add; the option may be repeated.")] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(help="An id to remove, or @FILE with one id per line; the option may be repeated."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="The teacher of the added documents (default: their own vectors, or else the teacher of the index)."
        ),
    ] = None,
    **options: Any,
) -> None:
    """Add documents to an index and remove documents from it, without building it again.

    The old index keeps serving until the new one is complete. An interrupted update changes nothing.

    \b
    leafkit update docs.index --add new.jsonl
    leafkit update docs.index --add night.parquet   # with a column of vectors
    leafkit update docs.index --remove doc-17 --remove @old-ids.txt
    leafkit update docs.index --lexical             # words for hybrid search
    """
    from leafkit.index.update import read_ids, update_index

    say(update_index(index, add=add, remove=list(read_ids(remove or [])), teacher=teacher, **options))
