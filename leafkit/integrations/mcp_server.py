"""``leafkit mcp``: a server of the Model Context Protocol on stdin and stdout, with one tool. Needs `leafkit[mcp]`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

# No dependency of leafkit, and so unknown to a type checker without the extra.
from mcp.server import MCPServer  # type: ignore[import-not-found]
from mcp.server.mcpserver.exceptions import ToolError  # type: ignore[import-not-found]
from mcp.server.mcpserver.tools import Tool  # type: ignore[import-not-found]
from mcp.types import ToolAnnotations  # type: ignore[import-not-found]
from pydantic import Field

from leafkit.errors import InputError, LeafkitError
from leafkit.integrations.options import McpOptions
from leafkit.integrations.search_tool import SearchResult, SearchTool
from leafkit.options import options_of, takes
from leafkit.serve.indexes import Indexes, name_indexes
from leafkit.serve.replies import RequestError
from leafkit.version import __version__

log = logging.getLogger("leafkit")

Query = Annotated[str, Field(description="What to look for, as a question or a few words.")]
K = Annotated[int, Field(description="How many documents to return.")]
Where = Annotated[
    str | dict[str, Any] | None,
    Field(
        description="Only documents whose columns fulfil this filter, e.g. "
        'category = "linux" and (year >= 2020 or year missing)'
    ),
]
Hybrid = Annotated[
    float | str | bool | None,
    Field(
        description="Also match words, which helps for names, codes and options: the weight of the meaning from 0 to "
        "1, e.g. 0.6, or rrf."
    ),
]
Effort = Annotated[
    str | None, Field(description="Which student reads the query, where the index names efforts. Default: the best.")
]
Index = Annotated[str | None, Field(description="The name of the index; needed if there are several.")]


@takes(McpOptions)
def server(
    indexes: str | Path | Sequence[str | Path] | Mapping[str, str | Path],
    *,
    encoder: str | Path | None = None,
    verify: bool = True,
    **options: Any,
) -> MCPServer:
    """Open the indexes and return a server with the tool ``search``; its method ``run`` serves on stdin and stdout.

    indexes, encoder, verify: as in `leafkit.serve.app`.

    Raises the errors of `leafkit.Searcher.open`, and `OptionError` for an option outside its range.
    """
    limits = options_of(McpOptions, options)
    served = Indexes(name_indexes(indexes), encoder=encoder, verify=verify)
    tool = SearchTool(served, limits)

    @contextlib.asynccontextmanager
    async def watching(_: Any) -> AsyncIterator[None]:
        watch = asyncio.create_task(served.watch(limits.watch)) if limits.watch else None
        yield
        if watch:
            watch.cancel()

    # Its log goes to stderr; INFO would hold the queries.
    return MCPServer(
        "leafkit", version=__version__, tools=[_protocol_tool(tool)], lifespan=watching, log_level="WARNING"
    )


def _protocol_tool(tool: SearchTool) -> Tool:
    """Return the tool with its schema, which refuses unknown arguments: a filter of another name would be ignored."""
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    made = Tool.from_function(_search(tool), name="search", description=tool.description(), annotations=reads)
    arguments = made.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    made.parameters = arguments.model_json_schema(by_alias=True)
    return made


def _search(tool: SearchTool) -> Callable[..., SearchResult]:
    """Return the tool as a function whose annotations become its schema."""

    def search(
        query: Query,
        k: K = 5,
        where: Where = None,
        hybrid: Hybrid = None,
        effort: Effort = None,
        index: Index = None,
    ) -> SearchResult:
        try:
            return tool.search(query, k=k, where=where, hybrid=hybrid, effort=effort, index=index)
        except (InputError, RequestError) as error:
            raise ToolError(str(error)) from error
        except LeafkitError as error:  # not of the request, such as a damaged file; its path is for the log alone
            log.error("a search failed: %s", error)
            raise ToolError("what this search needs cannot be opened; the server's log says why.") from error

    return search
