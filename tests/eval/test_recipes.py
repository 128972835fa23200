"""The recipes of the laboratory name everything that a training needs, and the shipped ones name no data."""

import inspect
from pathlib import Path

import pytest

import leafkit
from eval import DATA
from leafkit.evaluation.compare.recipes import read_entry
from leafkit.methods.registry import method_class, method_folders

RECIPES = sorted((Path(__file__).resolve().parents[2] / "eval" / "recipes").glob("*.toml"))
METHODS = ("methods", "feeds", "writers", "topology", "architecture", "budget")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_a_recipe_is_complete_and_begins_with_its_command(file):
    first = file.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# leafkit distill --recipe eval/recipes/{file.name}"
    recipe = leafkit.read_recipe(file)
    inspect.signature(leafkit.distill).bind(**recipe)
    assert all(f"{DATA}/" in source for source in [*recipe["texts"], *recipe.get("valid", [])])


@pytest.mark.parametrize("name", sorted({file.stem for file in RECIPES} & set(method_folders())))
def test_a_recipe_named_after_a_method_has_the_values_of_the_shipped_one(name):
    entry = read_entry(next(file for file in RECIPES if file.stem == name))
    given = entry.arguments.get(method_class(name).option, [])
    specs = [given] if isinstance(given, str) else given
    assert name in [spec.partition(":")[0] for spec in specs]
    shipped = leafkit.read_recipe(name)
    recipes = (shipped, entry.arguments)
    shipped_values, values = (
        {"methods": ["leaf"]} | {key: one[key] for key in METHODS if key in one} for one in recipes
    )
    assert shipped_values == values
