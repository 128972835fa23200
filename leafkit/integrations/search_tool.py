"""The search tool of ``leafkit mcp``: checked arguments in, typed hits of limited size out. It knows no protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.files.json_file import standard_json
from leafkit.integrations.options import McpOptions
from leafkit.serve.fields import SearchRequest, invalid
from leafkit.serve.indexes import Indexes, Opened
from leafkit.serve.options import ServeOptions

# Columns that a description names of each index.
_MOST_COLUMNS = 20


@dataclass(frozen=True)
class Hit:
    """A document: its id, its cosine to the query, and its columns.

    ``fused`` is the score that ordered the hits of a hybrid search. ``cut`` names the columns whose values were longer
    than the limit and are cut.
    """

    id: str
    score: float
    payload: dict[str, Any]
    fused: float | None = None
    cut: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """The hits of one search, best first, and the name of the index that was searched."""

    index: str
    hits: list[Hit]


class SearchTool:
    """Searches open indexes for an assistant."""

    def __init__(self, indexes: Indexes, limits: McpOptions) -> None:
        self._indexes = indexes
        self._limits = limits
        self._fields = ServeOptions(max_k=limits.max_k, max_texts=1, max_characters=limits.max_characters)

    def search(self, query: str, **options: Any) -> SearchResult:
        """Search with the text ``query``.

        options: ``index``, and those of `Searcher.search`, which are left out where None.

        Raises `InputError` and `RequestError` for an argument that is invalid.
        """
        if not isinstance(query, str):
            raise invalid(f"query is a {type(query).__name__}; expected a text.")
        given = {name: value for name, value in options.items() if value is not None}
        request = SearchRequest.parse({"query": query, **given}, self._fields)
        opened = self._indexes.open_now(request.index)
        found = opened.search(query, **request.options)
        # As JSON and back: NaN becomes None, and half of a surrogate pair, which the protocol cannot carry, a "?".
        rows = json.loads(standard_json(found.to_dicts(nested=True), ascii_only=False).encode("utf-8", "replace"))
        return SearchResult(opened.name, [self._hit(row) for row in rows])

    def description(self) -> str:
        """Return what the tool does and which indexes it searches, for the assistant."""
        several = len(self._indexes.all()) > 1
        lines = [
            "Search a collection of documents by meaning. Returns the best documents with their texts and cosines.",
            "Indexes; name one of them as `index`:" if several else "The index:",
            *(_described(one.opened) for one in self._indexes.all()),
        ]
        return "\n".join(lines)

    def _hit(self, row: Mapping[str, Any]) -> Hit:
        shortened = {name: _shortened(value, self._limits.max_text) for name, value in row["payload"].items()}
        cut = tuple(name for name, value in shortened.items() if value is not row["payload"][name])
        return Hit(row["id"], row["score"], shortened, row.get("fused"), cut)


def _described(opened: Opened) -> str:
    columns = list(opened.searcher.columns.items())
    names = ", ".join(f"{name} ({kind})" for name, kind in columns[:_MOST_COLUMNS])
    more = ", ..." if len(columns) > _MOST_COLUMNS else ""
    filters = f"; columns for `where`: {names}{more}" if columns else ""
    several = len(opened.searcher.efforts) > 1
    efforts = f"; efforts from the fastest to the best: {', '.join(opened.searcher.efforts)}" if several else ""
    return f"- {opened.name}: {len(opened.searcher):,} documents{filters}{efforts}"


def _shortened(value: Any, most: int) -> Any:
    """Return ``value`` itself if it is short, else the start of it or, for a list or an object, of its JSON."""
    text = value if isinstance(value, str) else standard_json(value, ascii_only=False)
    return value if len(text) <= most else f"{text[:most]}…"
