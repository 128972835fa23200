"""leafkit index: documents to an index package."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Cache, Overwrite, Teacher, TeacherFlags, TextOptions, spread_options


@spread_options
def index(
    documents: Annotated[list[str], typer.Argument(help="Files or folders of documents, or a vectors file of them.")],
    teacher: Teacher,
    out: Annotated[Path, typer.Option(help="The index folder to write.", show_default=False)],
    text_options: TextOptions,
    teacher_flags: TeacherFlags,
    student: Annotated[
        Path | None,
        typer.Option(help="Student that encodes the queries, a folder or the name of one that ships; it is copied in."),
    ] = None,
    factory: Annotated[
        str | None,
        typer.Option(help="A FAISS factory string, e.g. HNSW32 or IVF256,PQ64x4fs,Refine(SQ8)  [default: by size]"),
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Keep the first DIM numbers of a vector, and renormalise  [default: all]")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Numbers kept in memory: float32, float16, int8, int4 or binary.")
    ] = "float32",
    rescore: Annotated[
        str | None,
        typer.Option(
            help="Vectors kept on disk to score hits exactly: none, int8, float16 or float32  "
            "[default: none, but int8 for binary and float16 for other lossy factories]"
        ),
    ] = None,
    fold: Annotated[
        Path | None,
        typer.Option(
            help="Student that alone will search the index: its width + 1 numbers (+ 2 for a token table) are kept of "
            "each document, with the same cosines; with --dim, the most telling of them."
        ),
    ] = None,
    rotate: Annotated[
        str | None,
        typer.Option(help="Turn the space first: pca (for --dim), itq (for --precision binary) or random."),
    ] = None,
    cache: Cache = None,
    overwrite: Overwrite = False,
) -> None:
    """Encode documents with the teacher and build an index that the student searches.

    The folder holds all that a query host needs: vectors, ids, the documents' columns and the student's ONNX file.

    \b
    leafkit index docs.jsonl --teacher BAAI/bge-small-en-v1.5 --student my-student --out docs.index
    leafkit index docs.parquet --teacher docs.parquet --student my-student --out docs.index --dim 256 --precision int8
    leafkit index from-an-api.parquet --teacher from-an-api.parquet --teacher-space my-student \\
        --student my-student --out docs.index
    leafkit index docs.jsonl --teacher BAAI/bge-small-en-v1.5 --fold my-student --dim 192 --out docs.index
    """
    from leafkit.index.build import build_index

    typer.echo(
        build_index(
            documents,
            teacher,
            out,
            student=student,
            factory=factory,
            dim=dim,
            precision=precision,
            rescore=rescore,
            fold=fold,
            rotate=rotate,
            cache=cache,
            overwrite=overwrite,
            teacher_options=teacher_flags.chosen(),
            **dataclasses.asdict(text_options),
        )
    )
