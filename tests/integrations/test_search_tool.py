"""The search tool of `leafkit mcp`, called as a function."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy
import pytest

from leafkit.errors import LeafkitError
from leafkit.integrations.options import McpOptions
from leafkit.integrations.search_tool import SearchTool
from leafkit.search.searcher import Searcher
from leafkit.serve.indexes import Indexes
from leafkit.space import Space
from tests.fixtures.packages import index_vectors
from tests.integrations.conftest import QUERY


@pytest.fixture(scope="module")
def hostile(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One document whose payload JSON cannot carry as it is, in the space of the help pages."""
    space = Space.from_json(json.loads((index / "manifest.json").read_text(encoding="utf-8"))["space"])
    payload = {"text": "half \ud800 of a pair", "price": math.nan, "tags": ["long"] * 20, "small": [1, 2]}
    out = tmp_path_factory.mktemp("hostile") / "hostile.index"
    vector = numpy.eye(1, space.dim, dtype=numpy.float32)
    return index_vectors(["one"], vector, space, out, payload=[payload], student=index / "encoder")


@pytest.fixture(scope="module")
def indexes(index: Path, hostile: Path) -> Indexes:
    """Both indexes, open."""
    return Indexes({"pages": index, "hostile": hostile})


@pytest.fixture(scope="module")
def tool(indexes: Indexes) -> SearchTool:
    """The tool, with small limits."""
    return SearchTool(indexes, McpOptions(max_k=10, max_characters=100, max_text=40))


@pytest.fixture(scope="module")
def searcher(indexes: Indexes) -> Searcher:
    """The index of the help pages."""
    return indexes.open_now("pages").searcher


@pytest.mark.parametrize(
    "options", [{}, {"hybrid": 0.6}, {"where": 'platform = "linux"'}, {"hybrid": "rrf", "k": 3}, {"effort": "full"}]
)
def test_the_hits_are_those_of_a_search(tool: SearchTool, searcher: Searcher, options: dict[str, object]) -> None:
    found = tool.search(QUERY, index="pages", **options)
    wanted = searcher.search(QUERY, **options)
    assert found.index == "pages"
    assert [hit.id for hit in found.hits] == wanted.ids
    assert [hit.score for hit in found.hits] == wanted.scores.tolist()
    assert [hit.fused for hit in found.hits] == (
        [None] * len(wanted) if wanted.fused is None else wanted.fused.tolist()
    )


def test_a_long_text_is_cut_and_its_column_named(tool: SearchTool, searcher: Searcher) -> None:
    for hit, payload in zip(tool.search(QUERY, index="pages").hits, searcher.search(QUERY).payload, strict=True):
        assert "text" in hit.cut
        assert hit.payload["text"] == payload["text"][:40] + "…"
        assert hit.payload["platform"] == payload["platform"]


def test_values_that_the_protocol_cannot_carry_are_replaced(tool: SearchTool) -> None:
    (hit,) = tool.search("anything", index="hostile").hits
    tags = '["long","long","long","long","long","lon…'
    assert hit.payload == {"text": "half ? of a pair", "price": None, "tags": tags, "small": [1, 2]}
    assert hit.cut == ("tags",)
    json.dumps(dataclasses.asdict(hit), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        (" ", {}, "is ' '; expected a text that is not blank"),
        (7, {}, "query is a int; expected a text"),
        ("x" * 101, {}, "has 101 characters; expected at most 100"),
        (QUERY, {"k": 0}, "k is 0; expected a whole number from 1 to 10"),
        (QUERY, {"k": 11}, "k is 11; expected a whole number from 1 to 10"),
        (QUERY, {"hybrid": 7.0}, "hybrid is 7.0; expected the weight"),
        (QUERY, {"where": "platform ="}, "platform ="),
        (QUERY, {"where": "colour = 1"}, "colour"),
        (QUERY, {"effort": "ful"}, "ful"),
        (QUERY, {"index": "page"}, "no index 'page' is served; did you mean 'pages'?"),
    ],
)
def test_a_wrong_argument_is_one_error_of_leafkit(tool: SearchTool, query: str, options: dict, message: str) -> None:
    with pytest.raises(LeafkitError) as caught:
        tool.search(query, **{"index": "pages", **options})
    assert message in str(caught.value)


def test_of_several_indexes_one_must_be_named(tool: SearchTool) -> None:
    with pytest.raises(LeafkitError, match="several indexes are served; name one of pages, hostile"):
        tool.search(QUERY)
    assert tool.search(QUERY, index="hostile").hits[0].id == "one"
    assert "- pages: 1,000 documents; columns for `where`: " in tool.description()
    assert "platform (text)" in tool.description()
    assert "efforts" not in tool.description()


def test_the_efforts_of_an_index_with_several_students_are_named(
    tool: SearchTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Searcher, "efforts", ("table", "full"))
    assert "; efforts from the fastest to the best: table, full" in tool.description()
