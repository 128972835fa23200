"""How a student came to be, for its leafkit.json and its card."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from typing import Any

from leafkit.command import command_line
from leafkit.students.folder import read_student
from leafkit.training.checkpoint import State
from leafkit.training.corpus import Corpus
from leafkit.training.recipe import Recipe
from leafkit.training.run_folder import RunFolder
from leafkit.version import __version__


def training_facts(
    folder: RunFolder,
    recipe: Recipe,
    student: str,
    methods: Sequence[str],
    corpus: Corpus,
    state: State,
    *,
    asked: int,
    generations: int,
) -> dict[str, Any]:
    """Recipe, methods, data, validation, command and versions of a finished run, ready for JSON.

    ``asked`` counts the texts whose teacher vectors were used; ``best`` is the validation of the student that is kept;
    ``steps`` are those of each generation.
    """
    start = read_student(folder.path / "start")
    kept = state.best if recipe.keep == "best" else state.step
    best = next(entry for entry in state.history if entry["step"] == kept)
    return {
        "student": student,
        "recipe": dataclasses.asdict(recipe),
        "methods": list(methods),
        "head": start.training,
        "data": {
            "training": len(corpus.train),
            "asked": asked,
            "validation": len(corpus.valid),
            "repeated": corpus.train.repeated,
            "counts": [
                {"role": role, "source": source, "texts": count}
                for (role, source), count in sorted(corpus.train.counts.items())
            ],
            "digest": corpus.train.digest(),
        },
        "steps": recipe.steps(len(corpus.train)),
        "generations": generations,
        "best": best,
        "start": state.history[0],
        "history": state.history,
        "command": command_line(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what made the student."""
    import sentence_transformers
    import torch
    import transformers

    return {
        "leafkit": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
    }
