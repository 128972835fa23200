"""leafkit embed: encode texts and write their vectors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.files.options import OutputOptions
from leafkit.teachers.options import EmbedOptions, TeacherOptions
from leafkit.teachers.shard_options import ShardOptions
from leafkit.texts.options import RoleOptions

log = logging.getLogger("leafkit")


@with_options(EmbedOptions, RoleOptions, TeacherOptions, ShardOptions, OutputOptions)
def embed(
    texts: Annotated[list[str], typer.Argument(help="Files or folders of texts; query:FILE sets the role.")],
    encoder: Annotated[str, typer.Option(help="A teacher or a student.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            help="VECTORS.parquet, or VECTORS.npy, with a .jsonl of the same name; with --shard or --ray a folder."
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the texts, tokens and price for an API, and send nothing.")
    ] = False,
    batch_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the requests for an API to this file (JSON lines of OpenAI's batches), and send none."
        ),
    ] = None,
    collect: Annotated[
        list[Path] | None,
        typer.Option(help="Take the vectors from this file of a batch's answers. Repeat the option for several files."),
    ] = None,
    **options: Any,
) -> None:
    """Encode texts and write their vectors to a file, which can then be a teacher or the documents of an index.

    The file keeps the other columns of the texts. A student that ships as ONNX alone encodes without torch.

    Vectors are cached as they are computed. An interrupted command continues where it stopped when it is repeated.

    \b
    leafkit embed docs.jsonl --encoder BAAI/bge-small-en-v1.5 --out docs.parquet
    leafkit embed query:questions.txt --encoder bge-small-leaf --out questions.parquet
    leafkit embed docs.jsonl --encoder BAAI/bge-small-en-v1.5 --shard 3/16 --out shards
    leafkit embed docs.jsonl --encoder api:openai/text-embedding-3-small --dry-run --out docs.parquet
    """
    if dry_run:
        from leafkit.teachers.api.unsent import estimate_embedding

        say(estimate_embedding(texts, encoder, **options))
        return
    if batch_file is not None:
        from leafkit.teachers.api.batch_files import write_batch_files

        for file in write_batch_files(texts, encoder, batch_file, **options):
            say(file)
        return
    if collect:
        from leafkit.teachers.api.batch_files import collect_answers

        found = collect_answers(texts, encoder, collect, **options)
        found.check()
        log.info("%s", found)
    from leafkit.teachers.embed import embed as run

    say(run(texts, encoder, out, **options))
