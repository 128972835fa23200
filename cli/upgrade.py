"""leafkit upgrade: measure the ways to go on with an index whose model goes away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import Json, with_options
from leafkit.cli.printing import say, say_json
from leafkit.evaluation.upgrade.options import UpgradeOptions
from leafkit.files.options import CacheOptions
from leafkit.teachers.options import TeacherOptions


@with_options(UpgradeOptions, TeacherOptions, CacheOptions)
def upgrade(
    old: Annotated[
        Path,
        typer.Option(
            "--from",
            help="What the old model left: an index, or a vectors file with texts. Rows with the role query are "
            "logged queries.",
            show_default=False,
        ),
    ],
    new: Annotated[
        str, typer.Option("--to", help="The model to change to: see leafkit distill --teacher.", show_default=False)
    ],
    queries: Annotated[
        Path | None,
        typer.Option(help="Real queries: a file of texts, or a vectors file with the old model's vectors of them."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder in BEIR layout with judged queries on documents of --from: adds nDCG@10."),
    ] = None,
    student: Annotated[str | None, typer.Option(help="A student of the old space, to be measured as well.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the student that --train makes.")] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Measure the ways to go on with an index whose model goes away, and say which to take.

    The ways are: embed everything again, a linear bridge between the two spaces in either direction, and a student of
    the old space. Reports nDCG@10 where there are judgements, overlap with the old ranking, and what each way costs.

    \b
    leafkit upgrade --from docs.index --to BAAI/bge-small-en-v1.5
    leafkit upgrade --from docs.index --to NEW --old-teacher OLD --queries log.txt --student old-space-student
    leafkit upgrade --from vectors.parquet --to NEW --data beir/scifact --train bge-small-leaf --out old-space-student
    """
    from leafkit.evaluation.upgrade.run import upgrade as run

    found = run(old, new, queries=queries, data=data, student=student, out=out, **options)
    if as_json:
        say_json(found.to_json(), indent=1)
    else:
        say(found.table())
