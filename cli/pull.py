"""leafkit pull: build an index of what a database holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.files.options import OverwriteOptions
from leafkit.index.engine_options import EngineOptions
from leafkit.index.options import BuildOptions


@with_options(EngineOptions, BuildOptions, OverwriteOptions)
def pull(
    engine: Annotated[str, typer.Argument(help="The address of the engine.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The index folder to write.", show_default=False)],
    student: Annotated[
        list[str] | None,
        typer.Option(help="The student that encodes queries, as for leafkit index. The option may be repeated."),
    ] = None,
    **options: Any,
) -> None:
    """Build an index of the documents and vectors that an engine holds, which leafkit push wrote there.

    \b
    leafkit pull postgresql://user@host/database#docs --student my-student --out docs.index
    """
    from leafkit.index.pull import pull as run

    say(run(engine, out, student=student, **options))
