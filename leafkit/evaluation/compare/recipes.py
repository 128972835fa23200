"""The recipes of a comparison, each checked before any is trained, and known by its bytes and those of its texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError
from leafkit.evaluation.provenance import folder_digest
from leafkit.files.digest import sha256_file
from leafkit.shipped import resolve_recipe, resolve_student
from leafkit.students.spec import Pretrained, parse_student
from leafkit.texts.source import split_prefix
from leafkit.training.recipe_file import read_recipe


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recipe: ``given`` as the user named it, with the SHA-256 of the file, its ``texts`` and local ``models``."""

    name: str
    given: str
    sha256: str
    texts: dict[str, str]
    models: dict[str, str]
    arguments: dict[str, Any]

    def key(self, task: dict[str, Any]) -> str:
        """Twelve letters that change when the recipe, a text, a model or the ``task`` does."""
        everything = json.dumps([self.sha256, self.texts, self.models, task], sort_keys=True)
        return hashlib.sha256(everything.encode()).hexdigest()[:12]


def read_entries(recipes: Sequence[str | Path]) -> list[Entry]:
    """Every recipe, named after its file; raises `OptionError` for fewer than two, or two of one name."""
    if len(recipes) < 2:
        raise OptionError(f"got {len(recipes)} recipe(s); wanted a baseline and at least one to compare with it")
    entries = [read_entry(recipe) for recipe in recipes]
    names = [entry.name for entry in entries]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"two recipes are called {twice}; give each file a name of its own")
    return entries


def read_entry(recipe: str | Path) -> Entry:
    """One recipe; raises `OptionError` unless it says its texts and teacher."""
    arguments = read_recipe(recipe)
    for wanted in ("texts", "teacher"):
        if wanted not in arguments:
            raise OptionError(f"{recipe} says no {wanted}; a recipe to compare must be whole")
    path = resolve_recipe(recipe)
    sources = [*arguments["texts"], *arguments.get("valid", [])]
    student = parse_student(arguments["student"]) if arguments.get("student") else None
    models = [arguments["teacher"], *([student.source] if isinstance(student, Pretrained) else [])]
    return Entry(
        name=path.stem,
        given=str(recipe),
        sha256=sha256_file(path),
        texts=_digests({source: Path(split_prefix(source)[1]) for source in sources}),
        models=_digests({model: resolve_student(model) for model in models}),
        arguments=arguments,
    )


def _digests(paths: Mapping[str, Path]) -> dict[str, str]:
    """The SHA-256 of every file or folder of ``paths`` that is there; what a hub has is known by its name alone."""
    found = {}
    for name, path in paths.items():
        if path.is_file():
            found[name] = sha256_file(path)
        elif path.is_dir():
            found[name] = folder_digest(path, path.rglob("*"))
    return found
