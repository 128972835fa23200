"""The README's code runs as written, its links lead somewhere, and its map of the code is complete."""

import re
from importlib.metadata import entry_points

import pytest

from leafkit.cli import main
from tests.fixtures.blocks import ROOT, RUN, blocks, lay_out, run_block

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block for block in blocks([ROOT / "README.md"]) if block.language in RUN]


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_teacher, sentences):
    return lay_out(tmp_path_factory.mktemp("readme"), tiny_teacher, sentences)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_runs_as_written(place, block, monkeypatch):
    """The blocks run in the order in which a reader meets them, in the folder that the first of them finds."""
    monkeypatch.chdir(place)
    run_block(block)


def test_the_program_is_installed_under_the_name_that_the_readme_types():
    (program,) = entry_points(group="console_scripts", name="leafkit")
    assert program.load() is main


def test_the_readme_is_at_most_150_lines():
    assert len(README.splitlines()) <= 150


def test_the_readme_invents_no_address():
    """The repository has no public address, so only papers and formats of others may be linked."""
    addresses = re.findall(r"https?://([^/)\s]+)", README)
    assert set(addresses) <= {"arxiv.org"}


def test_the_map_of_the_code_names_every_part():
    drawn = README.partition("## The code")[2]
    for package in ("leafkit", "cli", "eval", "models", "docs", "tests"):
        assert f"{package}/" in drawn
    parts = [entry for entry in (ROOT / "leafkit").iterdir() if not entry.name.startswith("__")]
    names = [entry.name for entry in parts if entry.suffix == ".py" or (entry / "__init__.py").is_file()]
    missing = [name for name in names if name not in drawn and name != "version.py"]
    assert not missing
