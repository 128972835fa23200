"""leafkit embed: texts to vectors."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Cache, Overwrite, TeacherFlags, TextOptions, spread_options


@spread_options
def embed(
    texts: Annotated[list[str], typer.Argument(help="Files or folders of texts; query:FILE sets the role.")],
    encoder: Annotated[str, typer.Option(help="A teacher or a student.", show_default=False)],
    out: Annotated[Path, typer.Option(help="VECTORS.parquet, or VECTORS.npy with a .jsonl beside it.")],
    text_options: TextOptions,
    teacher_flags: TeacherFlags,
    role: Annotated[str, typer.Option(help="Role of texts that say none: query or document.")] = "document",
    precision: Annotated[str, typer.Option(help="float16, as in the cache, or float32.")] = "float16",
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Encode texts and write their vectors, which then serve as a teacher or as the documents of an index.

    Vectors are kept in the cache as they are made: a run that was stopped goes on where it was.

    \b
    leafkit embed docs.jsonl --encoder BAAI/bge-small-en-v1.5 --out docs.parquet
    leafkit embed query:questions.txt --encoder my-student --out questions.npy
    """
    from leafkit.teachers.embed import embed as run

    opened = teacher_flags.open(encoder)
    reading = dataclasses.asdict(text_options)
    typer.echo(run(texts, opened, out, role=role, precision=precision, cache=cache, overwrite=overwrite, **reading))
