"""leafkit shadow: run real queries through two encoders of an index and compare their hits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import Json, with_options
from leafkit.cli.printing import say, say_json
from leafkit.evaluation.shadow.options import ShadowOptions
from leafkit.files.atomic import write_file
from leafkit.teachers.options import TeacherOptions


@with_options(ShadowOptions, TeacherOptions)
def shadow(
    index: Annotated[Path, typer.Argument(help="The index folder.", show_default=False)],
    queries: Annotated[str, typer.Argument(help="File with one query per line; - reads stdin.", show_default=False)],
    teacher: Annotated[
        str | None,
        typer.Option(help="The teacher, if it is compared (default: the model that the index was built with)."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the report with the hits of the worst queries to this .html file.")
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Run real queries without labels through two students of an index, or a student and the teacher.

    Reports how many of the ten best hits are the same (overlap@10, with a 95 % bootstrap interval over queries), how
    often the best hit is, how far documents move, the milliseconds, and the queries that differ most.

    \b
    leafkit shadow docs.index queries.txt --between small,full
    leafkit shadow docs.index queries.txt --between full,teacher --html shadow.html
    zcat log.gz | leafkit shadow docs.index - --json
    """
    from leafkit.evaluation.page.document import check_file
    from leafkit.evaluation.shadow.page import page
    from leafkit.evaluation.shadow.run import shadow as run

    if html:
        check_file(html)
    found = run(index, queries, teacher=teacher, **options)
    if as_json:
        say_json(found.to_json(), indent=1)
    else:
        say(found.table())
    if html:
        write_file(html, page(found))
