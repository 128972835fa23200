"""The recipes of the laboratory name everything that a training needs, and the shipped ones name no data."""

import inspect
from pathlib import Path

import pytest

import leafkit
from eval import DATA

RECIPES = sorted((Path(__file__).resolve().parents[2] / "eval" / "recipes").glob("*.toml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_a_recipe_is_complete_and_begins_with_its_command(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# leafkit distill --recipe eval/recipes/{file.name}"
    recipe = leafkit.read_recipe(file)
    inspect.signature(leafkit.distill).bind(**recipe)
    assert all(f"{DATA}/" in source for source in [*recipe["texts"], *recipe.get("valid", [])])
