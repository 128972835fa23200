"""leafkit mcp: a search tool for assistants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.extras import explain_missing_extras
from leafkit.integrations.options import McpOptions


@with_options(McpOptions)
def mcp(
    indexes: Annotated[
        list[str], typer.Argument(help="Index folders, each FOLDER or NAME=FOLDER.", show_default=False)
    ],
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Another student of the same space to use instead of the ones in the indexes: a folder or a name."
        ),
    ] = None,
    verify: Annotated[bool, typer.Option(help="First check every file of an index against its hash.")] = True,
    **options: Any,
) -> None:
    """Serve a search tool over the Model Context Protocol, on stdin and stdout and without torch.

    An assistant starts this command and calls the tool `search` with query, k, where, hybrid, effort and index.

    \b
    leafkit mcp docs.index
    leafkit mcp docs.index faq=other/faq.index --max-k 10 --max-text 1000
    """
    with explain_missing_extras():
        from leafkit.integrations.mcp_server import server

    server(indexes, encoder=encoder, verify=verify, **options).run("stdio")
