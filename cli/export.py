"""leafkit export: ONNX files of a student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Overwrite


def export(
    student: Annotated[Path, typer.Argument(help="The student folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Write there instead of into the student folder.")] = None,
    int8: Annotated[
        bool, typer.Option(help="Write the int8 file as well: a quarter of the size, twice as fast.")
    ] = True,
    overwrite: Overwrite = False,
) -> None:
    """Write a student as ONNX, float32 and int8, with pooling, head and normalisation inside the graph.

    The files appear only if they give the student's vectors and rankings. `leafkit distill` does this at its end.

    \b
    leafkit export my-student
    """
    from leafkit.onnx.student import export as run

    typer.echo(run(student, out=out, int8=int8, overwrite=overwrite))
