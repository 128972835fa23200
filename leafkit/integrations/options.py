"""Options of ``leafkit mcp``, apart from its code so that the command line starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class McpOptions(Options):
    """What the search tool accepts and answers."""

    panel: ClassVar[str] = "MCP"

    max_k: Annotated[int, Option("The most hits that a search may ask for.", at_least=1)] = 20
    max_characters: Annotated[int, Option("The longest query, in characters.", at_least=1)] = 2000
    max_text: Annotated[
        int, Option("The most characters of a text or other value in a hit; longer ones are cut.", at_least=1)
    ] = 2000
    watch: Annotated[
        float,
        Option("Seconds between two looks at the index folders; 0 never reopens an index that changed.", at_least=0),
    ] = 1.0
