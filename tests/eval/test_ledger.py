"""The page of verdicts is the ledger as a table, with the command that measures each row again."""

import json
from pathlib import Path

import pytest

from eval.ledger import main, readme, repeated
from leafkit.methods.ledger import VERDICTS, ledger_row, read_ledger
from leafkit.methods.registry import method_folders

ROOT = Path(__file__).resolve().parents[2]
RESULT = {
    "system": "leaf",
    "baseline": "lab-retrieval",
    "task": "retrieval",
    "metric": "nDCG@10",
    "verdict": "beats",
    "difference": {"mean": 0.02, "low": 0.01, "high": 0.03},
    "seeds": [0, 1],
    "command": "leafkit compare --recipe lab-retrieval --recipe leaf",
}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A folder of results in which one method beats its baseline, and the name of that method."""
    name = next(name for name, folder in method_folders().items() if folder != "probes" and name != "leaf")
    (tmp_path / f"{name}.json").write_text(json.dumps(RESULT | {"system": name}))
    return tmp_path, name


def test_the_page_in_the_checkout_is_up_to_date():
    stale = "run: python -m eval.ledger"
    assert (VERDICTS / "README.md").read_text(encoding="utf-8") == readme(read_ledger()), stale


def test_the_page_has_the_command_of_each_measured_row(measured):
    page = readme(read_ledger(measured[0]))
    assert "--recipe eval/recipes/lab-retrieval.toml --recipe eval/recipes/leaf.toml --data-root" in page
    assert "```" not in readme([ledger_row("leaf", measured[0])])


def test_the_page_has_a_row_for_each_method(measured):
    folder, name = measured
    lines = readme(read_ledger(folder)).splitlines()
    assert all(any(line.startswith(f"| {method} |") for line in lines) for method in method_folders())
    (row,) = (line for line in lines if line.startswith(f"| {name} |"))
    assert row.endswith("| plain LEAF on the same texts for as many steps | +0.0200 [+0.0100, +0.0300] | beats |")


def test_the_repeated_commands_name_recipes_that_exist():
    commands = [repeated(one.result["command"]) for one in read_ledger() if one.result]
    recipes = [word for command in commands for word in command.split() if word.endswith(".toml")]
    assert len(recipes) == 2 * len(commands) > 0
    assert all((ROOT / recipe).is_file() for recipe in recipes)
    new = "leafkit compare --recipe eval/recipes/lab-ofa.toml --recipe eval/recipes/ofa.toml"
    assert repeated(new).startswith(new)


def test_the_command_writes_the_page(monkeypatch, measured, capsys):
    monkeypatch.setattr("leafkit.methods.ledger.VERDICTS", measured[0] / "new")
    main()
    page = measured[0] / "new" / "README.md"
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text().startswith("# What each method is worth")
