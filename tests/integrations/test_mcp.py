"""`leafkit mcp` as a process, spoken to by the official client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leafkit.search.searcher import Searcher
from tests.fixtures.blocks import ROOT
from tests.integrations.conftest import QUERY

pytest.importorskip("mcp", reason="the extra mcp is not installed")
from mcp import Client, StdioServerParameters

pytestmark = pytest.mark.slow


@pytest.fixture
def ask(index: Path) -> Callable[..., Any]:
    """A function that starts the server, does something with a connected client, and returns what came of it."""

    def run(use: Callable[[Any], Any], *arguments: str) -> Any:
        command = ["-m", "leafkit.cli", "mcp", f"pages={index}", *arguments]
        server = StdioServerParameters(
            command=sys.executable, args=command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        )

        async def connect() -> Any:
            async with Client(server, read_timeout_seconds=60) as client:
                return await use(client)

        return asyncio.run(connect())

    return run


def test_the_client_finds_the_tool_and_gets_typed_hits(ask: Callable[..., Any], searcher: Searcher) -> None:
    async def use(client: Any) -> Any:
        arguments = {"query": QUERY, "k": 3, "hybrid": 0.6, "where": 'platform = "linux"'}
        return await client.list_tools(), await client.call_tool("search", arguments)

    listed, answer = ask(use)
    (tool,) = listed.tools
    assert (tool.name, tool.input_schema["required"], tool.annotations.read_only_hint) == ("search", ["query"], True)
    assert set(tool.input_schema["properties"]) == {"query", "k", "where", "hybrid", "effort", "index"}
    assert tool.input_schema["additionalProperties"] is False
    assert all(one["description"] for one in tool.input_schema["properties"].values())
    assert "- pages: 1,000 documents" in tool.description
    assert set(tool.output_schema["$defs"]["Hit"]["properties"]) == {"id", "score", "payload", "fused", "cut"}
    wanted = searcher.search(QUERY, 3, hybrid=0.6, where={"platform": "linux"})
    hits = answer.structured_content["hits"]
    assert not answer.is_error
    assert [(hit["id"], hit["score"]) for hit in hits] == list(zip(wanted.ids, wanted.scores.tolist(), strict=True))
    assert [hit["payload"] for hit in hits] == wanted.payload
    assert json.loads(answer.content[0].text) == answer.structured_content


WRONG = [
    ({"query": QUERY, "k": 9}, "k is 9; expected a whole number from 1 to 8"),
    ({"query": QUERY, "where": "year >"}, "year"),
    ({"query": " "}, "expected a text that is not blank"),
    ({"query": ["a"]}, "query"),
    ({}, "query"),
    ({"query": QUERY, "filter": "year > 3"}, "filter"),
    ({"query": QUERY, "index": "other"}, "no index 'other' is served"),
]


def test_a_wrong_call_is_an_error_of_the_tool_and_the_server_goes_on(ask: Callable[..., Any]) -> None:
    async def use(client: Any) -> Any:
        wrong = [await client.call_tool("search", arguments) for arguments, _ in WRONG]
        return wrong, await client.call_tool("search", {"query": QUERY})

    wrong, right = ask(use, "--max-k", "8")
    for answer, (_, message) in zip(wrong, WRONG, strict=True):
        assert answer.is_error
        assert message in answer.content[0].text
        assert "Traceback" not in answer.content[0].text
    assert len(right.structured_content["hits"]) == 5


def test_stdout_holds_nothing_but_the_protocol_and_the_server_ends_with_its_input(index: Path) -> None:
    command = [sys.executable, "-m", "leafkit.cli", "-v", "mcp", str(index)]
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    sent = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
    ]
    lines = "".join(json.dumps(one) + "\n" for one in sent) + "no JSON\n"
    done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
    assert answers[0]["result"]["serverInfo"]["name"] == "leafkit"


def test_an_index_that_is_missing_is_one_message_and_no_protocol(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "leafkit.cli", "mcp", str(tmp_path / "absent.index")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("leafkit: ")
    assert len(done.stderr.splitlines()) == 1
