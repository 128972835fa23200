"""The commands of docs/api-teachers.md run, in order, against a server that stands for the provider."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex

import pytest
from typer.testing import CliRunner

from leafkit.cli import app
from leafkit.teachers.api import dialects
from tests.fixtures.api_server import drawn, pack
from tests.fixtures.blocks import ROOT, blocks

PAGE = ROOT / "docs" / "api-teachers.md"
COMMANDS = [command for block in blocks([PAGE]) for command in block.commands]


@pytest.fixture
def provider(server, monkeypatch, tmp_path):
    """The server in place of OpenAI, in a folder with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEAFKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    server.dim = 1536
    openai = dataclasses.replace(dialects.DIALECTS["openai"], url=f"{server.url}/v1")
    monkeypatch.setitem(dialects.DIALECTS, "openai", openai)
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": f"text {i}"}) for i in range(9)))
    (toml,) = [block for block in blocks([PAGE]) if block.language == "toml"]
    (tmp_path / "prices.toml").write_text(toml.code)
    return server


def answer_batch(place):
    """Do what a provider does with a file of requests."""
    lines = map(json.loads, (place / "requests.jsonl").read_text().splitlines())
    answers = [
        {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": {"data": [
            {"index": 0, "embedding": pack(drawn(line["body"]["input"][0], dim=1536))}
        ]}}}
        for line in lines
    ]  # fmt: skip
    (place / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))


def test_every_command_for_embedding_runs_as_written(provider, tmp_path):
    pytest.importorskip("pyarrow", reason="the extra texts is not installed")
    ran = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if (program, *arguments[:1]) != ("leafkit", "embed"):
            continue
        if "--batch-file" in arguments:  # the page begins with texts that are not cached
            (tmp_path / "docs.parquet").unlink()
            (tmp_path / "docs.jsonl").write_text('{"_id": "new", "text": "a new text"}')
        if "--collect" in arguments:
            answer_batch(tmp_path)
            sent = len(provider.requests)
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{command}: {result.output} {result.exception}"
        ran.append(command)
    assert len(ran) == 6
    assert len(provider.requests) == sent


def test_the_page_names_the_key_of_every_provider_and_every_dialect():
    page = PAGE.read_text(encoding="utf-8")
    for dialect in dialects.DIALECTS.values():
        assert f"`{dialect.key}`" in page
        assert f"`{dialect.name}`" in page or f"api:{dialect.name}/" in page


def test_the_table_of_prices_has_a_date_and_a_price_for_every_model():
    assert re.fullmatch(r"20\d\d-\d\d", dialects.PRICES_DATE)
    for dialect in dialects.DIALECTS.values():
        for name, model in dialect.models.items():
            assert model.price is not None, name
            assert model.width is not None, name
            assert model.limit is not None, name
