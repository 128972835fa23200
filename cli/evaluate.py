"""leafkit evaluate: measure a student, alone and on the teacher's index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import Json, with_options
from leafkit.cli.printing import say, say_json
from leafkit.evaluation.options import EvaluationOptions
from leafkit.files.atomic import write_file
from leafkit.files.options import CacheOptions
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import SkipOptions


@with_options(EvaluationOptions, SkipOptions, TeacherOptions, CacheOptions)
def evaluate(
    data: Annotated[
        list[Path] | None, typer.Option(help="Folders in BEIR layout: corpus.jsonl, queries.jsonl, qrels/.")
    ] = None,
    mteb: Annotated[list[str] | None, typer.Option(help="Names of MTEB tasks.")] = None,
    teacher: Annotated[str | None, typer.Option(help="The teacher: see leafkit distill --help.")] = None,
    student: Annotated[
        list[str] | None, typer.Option(help="Student folders; several are compared in one table.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write tables, plots and provenance to this .html file.")
    ] = None,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Measure a student: standard (it encodes both sides), asymmetric (queries only) and against its teacher.

    nDCG@10 and retention (mode / teacher) are given with 95 % bootstrap intervals over queries.

    \b
    leafkit evaluate --data beir/scifact beir/nfcorpus --teacher BAAI/bge-small-en-v1.5 --student my-student
    leafkit evaluate --data beir/scifact --teacher T --student S --dims 384,128 --precisions float32,int8,binary
    leafkit evaluate --data beir/* --documents 10000 --teacher T --student S --report report.html
    leafkit evaluate --mteb STSBenchmark banking77 --data-root bench --student my-student
    """
    from leafkit.evaluation.evaluate import evaluate as run
    from leafkit.evaluation.page.build import check_page, page

    if report:
        check_page(report)
    found = run(data, teacher=teacher, student=student, mteb=mteb, **options)
    if as_json:
        say_json(found.to_json(), indent=1)
    else:
        say(found.table())
    if report:
        write_file(report, page([found]))
