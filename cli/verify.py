"""leafkit verify: compare the hits of a database with exact search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.index.engine_options import VerifyOptions


@with_options(VerifyOptions)
def verify(
    index: Annotated[Path, typer.Argument(help="The index folder that was pushed.", show_default=False)],
    engine: Annotated[str, typer.Argument(help="The address of the engine.", show_default=False)],
    queries: Annotated[
        str | None,
        typer.Option(help="File with one query per line; - reads stdin. By default drawn documents stand for queries."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="A filter to search with; the option may be repeated. By default, filters are drawn."),
    ] = None,
    student: Annotated[
        Path | None, typer.Option(help="The student that encodes the queries, in place of the one in the index.")
    ] = None,
    **options: Any,
) -> None:
    """Compare what an engine finds with exact search in the index that was pushed there, with and without filters.

    Prints for each filter how many of the exact hits the engine found, and how many of its hits are wrong: forbidden by
    the filter, or with another payload or cosine. Documents are compared by their hashes. The exit code is 1 if a hit
    is wrong, a document is missing or has changed, or fewer hits are equal than --at-least says.

    \b
    leafkit verify docs.index postgresql://user@host/database#docs
    leafkit verify docs.index postgresql://user@host/database#docs --queries questions.txt --where 'year >= 2020'
    """
    from leafkit.evaluation.shadow.queries import read_queries
    from leafkit.index.verify import verify as run

    texts = None if queries is None else [text for text in read_queries(queries) if text]
    found = run(index, engine, texts, where=where or None, student=student, **options)
    say(found)
    if not found.is_equal:
        raise typer.Exit(1)
