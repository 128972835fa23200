"""leafkit mcp: a search tool for assistants."""

from __future__ import annotations

from typing import Any

from leafkit.cli.options import Indexes, OtherEncoder, Verify, with_options
from leafkit.extras import explain_missing_extras
from leafkit.integrations.options import McpOptions


@with_options(McpOptions)
def mcp(
    indexes: Indexes,
    encoder: OtherEncoder = None,
    verify: Verify = True,
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
