"""leafkit bulk: write an index as bulk files of another search engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.bulk.options import BulkOptions
from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.files.options import OverwriteOptions


@with_options(BulkOptions, OverwriteOptions)
def bulk(
    index: Annotated[Path, typer.Argument(help="The index folder.", show_default=False)],
    engine: Annotated[str, typer.Argument(help="elasticsearch, opensearch, vespa or weaviate.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    **options: Any,
) -> None:
    """Write an index as bulk files that Elasticsearch, OpenSearch, Vespa or Weaviate loads.

    The folder holds the documents with their vectors, the mapping or schema with the id of the vector space in it, the
    commands to load it (README.md), and query.py, which encodes a query with the student and prints the search.

    \b
    leafkit bulk docs.index elasticsearch --out docs-for-elasticsearch
    leafkit bulk docs.index vespa --name manuals --megabytes 100 --out docs-for-vespa
    """
    from leafkit.bulk.write import write_bulk_files

    written = write_bulk_files(index, engine, out, **options)
    size = sum(written.files.values()) / 1e6
    files = f"{len(written.files):,} file{'s' * (len(written.files) != 1)}"
    say(f"{written.folder}: {written.documents:,} documents in {files}, {size:.1f} MB in all")
    say(f"Load and search them as {written.folder / 'README.md'} says.")
