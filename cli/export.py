"""leafkit export: write a student or a teacher in the form that another runtime reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.errors import OptionError
from leafkit.files.options import OverwriteOptions
from leafkit.onnx.options import ExportOptions
from leafkit.options import Options, options_of, without
from leafkit.teachers.options import TeacherOptions


@with_options(ExportOptions, TeacherOptions, OverwriteOptions)
def export(
    student: Annotated[
        Path | None, typer.Argument(help="The student folder; none to export the teacher.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write, complete for every runtime; by default the ONNX files go to the student's."
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="With --router or without a student: a sentence-transformers model with torch weights (a folder, a "
            "hub id or package:NAME)."
        ),
    ] = None,
    router: Annotated[
        bool,
        typer.Option(
            "--router",
            help="Write one sentence-transformers model that encodes queries with the student and documents with the "
            "teacher.",
        ),
    ] = False,
    **options: Any,
) -> None:
    """Write a student as ONNX, or with its teacher as one sentence-transformers model, or the teacher alone as ONNX.

    The files are written only if they give the vectors of the student and the teacher. leafkit distill exports the
    student at its end. The ONNX files of a student are float32 and int8, with pooling, head and normalisation inside.
    The folder in --out has the torch weights as well; those of a student that ships are read back from its ONNX file.

    \b
    leafkit export my-student
    leafkit export bge-small-leaf --out bge-small-leaf-complete
    leafkit export my-student --router --teacher BAAI/bge-small-en-v1.5 --out my-search-model
    leafkit export --teacher BAAI/bge-small-en-v1.5 --out bge-small-onnx
    """
    if student is not None and not router:
        _refuse(
            options_of(TeacherOptions, options), teacher=teacher, kind="the export of a student alone; add --router"
        )
        from leafkit.onnx.student import export as run

        say(run(student, out=out, **without(TeacherOptions, options)))
        return
    _refuse(options_of(ExportOptions, options), kind="an export with a teacher, which is float32")
    if teacher is None or out is None:
        what = "--router" if router else "an export without a student"
        raise OptionError(f"{what} needs a teacher and a folder to write. Add --teacher TEACHER --out FOLDER.")
    if router and student is None:
        raise OptionError("--router needs a student. Write: leafkit export STUDENT --router --teacher T --out FOLDER.")
    opening = without(ExportOptions, options)
    if student is not None:
        from leafkit.runtimes.router import export_router

        say(export_router(student, teacher, out, **opening))
    else:
        from leafkit.onnx.teacher import export_teacher

        say(export_teacher(teacher, out, **opening))


def _refuse(options: Options, *, kind: str, **more: str | None) -> None:
    """Raise `OptionError` for the first of ``options`` and ``more`` that was given, because ``kind`` ignores it."""
    given = [*(name for name, value in more.items() if value is not None), *sorted(options.given())]
    if given:
        raise OptionError(f"--{given[0].replace('_', '-')} does not apply to {kind}.")
