"""The recipes of the laboratory name everything that a training needs, and the shipped ones name no data."""

import inspect
from pathlib import Path

import pytest

import leafkit
from eval import DATA
from leafkit.evaluation.compare.recipes import read_entry
from leafkit.methods.registry import method_folders
from leafkit.training.recipe_file import read_options

RECIPES = sorted((Path(__file__).resolve().parents[2] / "eval" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_a_recipe_is_complete_and_begins_with_its_command(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# leafkit distill --recipe eval/recipes/{file.name}"
    inspect.signature(leafkit.distill).bind(**leafkit.read_recipe(file))
    options = read_options(file)
    assert all(f"{DATA}/" in source for source in [*options["texts"], *options.get("valid", [])])


@pytest.mark.parametrize("name", method_folders())
def test_every_system_has_a_recipe_that_can_be_compared(name):
    entry = read_entry(next(file for file in RECIPES if file.stem == name))
    given = [*entry.arguments.get("methods", []), *entry.arguments.get("feeds", [])]
    given.append(entry.arguments.get("architecture") or "")
    assert name in [spec.partition(":")[0] for spec in given]
    # The same systems with the same values as in the recipe that ships.
    shipped = leafkit.read_recipe(name)
    keys = ("methods", "feeds", "architecture", "budget")
    methods = {"methods": ["leaf"]}
    assert {**methods, **{key: shipped[key] for key in keys if key in shipped}} == {
        **methods,
        **{key: entry.arguments[key] for key in keys if key in entry.arguments},
    }
