"""The commands of the engines' pages run as written, on real engines."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from leafkit.cli import app
from tests.fixtures.blocks import ROOT, blocks

pytestmark = pytest.mark.slow
EXAMPLE = {
    "postgresql": "postgresql://user@host/database",
    "qdrant": "qdrant://host:6333",
    "lancedb": "lancedb://database",
    "milvus": "milvus://data.db",
}


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a real engine in the place of the one that a page names, without the table."""
    if request.param == "qdrant":
        pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
        return f"qdrant://{tmp_path_factory.mktemp('qdrant')}"
    if request.param != "postgresql":
        pytest.importorskip({"milvus": "pymilvus"}.get(request.param, request.param), reason="the extra is missing")
        return EXAMPLE[request.param]  # embedded, in the folder where the commands run
    return request.getfixturevalue("server").get_uri()


@pytest.mark.parametrize(
    ("address", "page", "engine"),
    [
        ("postgresql", "index.md", "postgresql"),
        ("postgresql", "postgresql.md", "postgresql"),
        ("qdrant", "qdrant.md", "qdrant"),
        ("lancedb", "lancedb.md", "lancedb"),
        ("milvus", "milvus.md", "milvus"),
    ],
    indirect=["address"],
)
def test_the_commands_of_a_page_run(
    address: str, page: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leafkit.cli.quickstart import index_embedded

    index, _ = index_embedded(tmp_path / "made")
    shutil.move(index, tmp_path / "docs.index")
    (tmp_path / "my-student").symlink_to(ROOT / "models" / "bge-small-leaf")
    (tmp_path / "questions.txt").write_text("list the open ports\nunpack a zip file\n")
    monkeypatch.chdir(tmp_path)
    ran = set()
    for block in blocks([ROOT / "docs" / "engines" / page]):
        for command in block.commands if block.language == "console" else []:
            words = shlex.split(command.replace(EXAMPLE[engine], address))
            result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
            assert result.exit_code == 0, f"{command}\n{result.output}"
            ran.add(words[1])
    assert {"push", "verify", "search", "pull"} <= ran
