"""leafkit export: write a student as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.options import ExportOptions


@with_options(ExportOptions, OverwriteOptions)
def export(
    student: Annotated[Path, typer.Argument(help="The student folder.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder to write instead of the student folder.")] = None,
    **options: Any,
) -> None:
    """Write a student as ONNX, float32 and int8, with pooling, head and normalisation inside the graph.

    The files are written only if they give the student's vectors and rankings. leafkit distill exports at its end.

    \b
    leafkit export my-student
    """
    from leafkit.onnx.student import export as run

    say(run(student, out=out, **options))
