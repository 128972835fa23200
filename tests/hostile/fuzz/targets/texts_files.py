"""Files of texts in every format, and recipes."""

from __future__ import annotations

import csv
import gzip
import json
from functools import partial
from pathlib import Path

import pyarrow
from pyarrow import parquet

from leafkit.texts.read import read_texts
from tests.hostile.fuzz.target import Target, digest

ROWS = [{"id": str(row), "text": f"a text, number {row}", "title": "é" * (row % 3)} for row in range(60)]
RECIPE = """
texts = ["queries.jsonl", "documents.parquet"]
teacher = "BAAI/bge-small-en-v1.5"
student = "teacher:layers=2"
methods = ["leaf"]
feeds = ["mixup:share=0.25"]
epochs = 2
batch_size = 32
learning_rate = 1e-4
seed = 3
"""


def build(suffix: str, folder: Path) -> None:
    """Write the rows as one file."""
    file = folder / f"rows{suffix}"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), file)
    elif suffix == ".csv":
        with open(file, "w", newline="") as opened:
            writer = csv.DictWriter(opened, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
    elif suffix == ".jsonl.gz":
        file.write_bytes(gzip.compress(lines.encode(), mtime=0))
    elif suffix == ".jsonl.zst":
        file.write_bytes(pyarrow.compress(lines.encode(), codec="zstd", asbytes=True))
    else:
        file.write_text(lines)


def use(suffix: str, folder: Path) -> str:
    """Read all rows."""
    return digest(*read_texts(folder / f"rows{suffix}"))


def build_recipe(folder: Path) -> None:
    """Write a recipe."""
    (folder / "recipe.toml").write_text(RECIPE)


def use_recipe(folder: Path) -> str:
    """Read the recipe."""
    from leafkit.training.recipe_file import read_recipe

    return digest(sorted(read_recipe(folder / "recipe.toml").items()))


SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".txt", ".parquet")
TARGETS = [
    Target(
        name=f"texts{suffix}",
        build=partial(build, suffix),
        use=partial(use, suffix),
        files=(f"rows{suffix}",),
        cases=15,
    )
    for suffix in SUFFIXES
] + [Target(name="recipe", build=build_recipe, use=use_recipe, files=("recipe.toml",), cases=0)]
