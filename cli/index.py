"""leafkit index: build an index from documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import argument_help, with_options
from leafkit.cli.printing import say
from leafkit.files.options import OutputOptions
from leafkit.index.options import BuildOptions
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import ReadingOptions


@with_options(BuildOptions, ReadingOptions, TeacherOptions, OutputOptions)
def index(
    documents: Annotated[list[str], typer.Argument(help="Files or folders of documents, or a vectors file of them.")],
    out: Annotated[Path, typer.Option(help="The index folder to write.", show_default=False)],
    teacher: Annotated[
        str | None,
        typer.Option(help=f"{argument_help('teacher')} By default, the documents' own vectors.", show_default=False),
    ] = None,
    student: Annotated[
        list[str] | None,
        typer.Option(
            help="The student that encodes queries: a folder or a name. It is copied into the index. Several make a "
            "ladder, from which each search chooses by --effort: table for a token table, small for the fewest layers, "
            "full for the most; EFFORT=STUDENT sets another effort. Repeat the option for each student."
        ),
    ] = None,
    **options: Any,
) -> None:
    """Encode documents with the teacher and build an index that the student searches.

    The folder contains everything that a search host needs: vectors, ids, the documents' columns and the student's
    ONNX file.

    \b
    leafkit index docs.jsonl --teacher BAAI/bge-small-en-v1.5 --student my-student --out docs.index
    leafkit index vectors.parquet --student my-student --out docs.index --dim 256 --precision int8
    leafkit index from-an-api.parquet --teacher from-an-api.parquet --teacher-space my-student \\
        --student my-student --out docs.index
    leafkit index docs.jsonl --teacher BAAI/bge-small-en-v1.5 --student my-table --student my-student \\
        --out ladder.index
    leafkit index docs.jsonl --teacher BAAI/bge-small-en-v1.5 --fold my-student --dim 192 --out docs.index
    """
    from leafkit.index.build import build_index

    say(build_index(documents, teacher, out, student=student, **options))
