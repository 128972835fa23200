"""leafkit distill: train a student from texts and a teacher."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import Recipe, Teacher, argument_help, with_options
from leafkit.cli.printing import say
from leafkit.engines.url import is_engine_url
from leafkit.options import options_of
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.training.recipe import RunOptions
from leafkit.training.recipe_file import DISTILL_OPTIONS

log = logging.getLogger("leafkit")


@with_options(*DISTILL_OPTIONS)
def distill(
    teacher: Teacher,
    out: Annotated[Path, typer.Option(help=argument_help("out"), show_default=False)],
    texts: Annotated[list[str] | None, typer.Argument(help=argument_help("texts"), show_default=False)] = None,
    student: Annotated[str | None, typer.Option(help=argument_help("student"), show_default=False)] = None,
    recipe: Recipe = None,
    **options: Any,
) -> None:
    """Train a small student to write the teacher's own vectors: no labels, no negatives, no API at query time.

    The teacher encodes each text once; its vectors are cached. An interrupted command continues where it stopped when
    it is repeated. The student opens with plain sentence-transformers, and its ONNX files need no torch. Texts may be
    left out if the teacher is a vectors file or an engine: then the student learns from all of its texts.

    A recipe is a TOML file whose keys are these options (plus texts = ["..."]). Command-line options override it.

    \b
    leafkit distill docs.jsonl query:questions.txt --teacher BAAI/bge-small-en-v1.5 \\
        --student teacher:layers=3 --out my-student
    leafkit distill docs.jsonl sentences:docs.jsonl --teacher BAAI/bge-small-en-v1.5 \\
        --student bge-small-leaf --out my-student
    leafkit distill vectors.parquet --teacher vectors.parquet --student MODEL --out my-student
    leafkit distill --teacher "postgresql://host/database#docs" --student MODEL --out my-student
    leafkit distill --recipe my-student.toml --epochs 3
    """
    from leafkit.texts.read import check_texts

    # Before torch is imported, which takes seconds.
    reading = options_of(TextOptions, options)
    for sources in (texts, reading.valid):
        if sources:
            check_texts(sources, reading)
    from leafkit.training.distill import distill as run
    from leafkit.training.verdict import next_commands

    facts = run(texts, teacher, student, out, **options)
    chosen = options_of(TeacherOptions, options)
    exported = options_of(RunOptions, options).export
    if is_engine_url(teacher):
        from leafkit.teachers.engine import file_of

        teacher = str(file_of(teacher))
    log.info(next_commands(texts or [teacher], teacher, facts.path, chosen, exported=exported))
    say(out)
