"""The recipes of a comparison: checked before training starts, and identified by the bytes of all their inputs."""

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
from leafkit.options import options_of
from leafkit.shipped import resolve_recipe, resolve_student
from leafkit.students.spec import Pretrained, parse_student
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.source import split_prefix
from leafkit.training.recipe_file import read_recipe
from leafkit.types import Teacher


@dataclass(frozen=True, kw_only=True)
class RecipeEntry:
    """One recipe of a comparison.

    ``given`` is the file or name that the user gave and ``sha256`` the hash of the file. ``texts`` and ``models`` map
    each source of texts and each local model to its SHA-256. ``arguments`` are those of `leafkit.distill`.
    """

    name: str
    given: str
    sha256: str
    texts: dict[str, str]
    models: dict[str, str]
    arguments: dict[str, Any]

    def key(self, task: dict[str, Any]) -> str:
        """Return twelve hexadecimal digits that change with the recipe, a text, a model or the facts of ``task``."""
        everything = json.dumps([self.sha256, self.texts, self.models, task], sort_keys=True)
        return hashlib.sha256(everything.encode()).hexdigest()[:12]

    @property
    def opening(self) -> TeacherOptions:
        """The recipe's options for opening the teacher."""
        return options_of(TeacherOptions, self.arguments)

    def open_teacher(self) -> Teacher:
        """Open the teacher that the recipe names."""
        return open_with(self.arguments["teacher"], self.opening)

    def portable_texts(self) -> dict[str, str]:
        """Return ``texts`` by file name without the folder, or as given if two files have one name."""
        names = {source: _file_name(source) for source in self.texts}
        distinct = len(set(names.values())) == len(names)
        return {names[source] if distinct else source: digest for source, digest in self.texts.items()}


def read_entries(recipes: Sequence[str | Path]) -> list[RecipeEntry]:
    """Read every recipe, named after its file. Raise `OptionError` for fewer than two, or two of the same name."""
    if len(recipes) < 2:
        raise OptionError(f"got {len(recipes)} recipe(s); expected at least 2, a baseline and one to compare with it.")
    entries = [read_entry(recipe) for recipe in recipes]
    names = [entry.name for entry in entries]
    if duplicate := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"two recipes are called {duplicate}. Give every recipe file its own name.")
    return entries


def read_entry(recipe: str | Path) -> RecipeEntry:
    """Read one recipe. Raise `OptionError` if it names no texts or no teacher."""
    arguments = read_recipe(recipe)
    for key in ("texts", "teacher"):
        if key not in arguments:
            raise OptionError(
                f"{recipe} has no {key}; a recipe to compare must name its texts and its teacher. "
                f"Write a recipe file of your own with a {key!r} line."
            )
    path = resolve_recipe(recipe)
    sources = [*arguments["texts"], *arguments.get("valid", [])]
    student = parse_student(arguments["student"]) if arguments.get("student") else None
    models = [arguments["teacher"], *([student.source] if isinstance(student, Pretrained) else [])]
    return RecipeEntry(
        name=path.stem,
        given=str(recipe),
        sha256=sha256_file(path),
        texts=_digests({source: Path(split_prefix(source)[1]) for source in sources}),
        models=_digests({model: resolve_student(model) for model in models}),
        arguments=arguments,
    )


def _digests(paths: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of every local file or folder of ``paths``; what lies on a hub has no entry."""
    digests = {}
    for name, path in paths.items():
        if path.is_file():
            digests[name] = sha256_file(path)
        elif path.is_dir():
            digests[name] = folder_digest(path, path.rglob("*"))
    return digests


def _file_name(source: str) -> str:
    prefix, path = split_prefix(source)
    return f"{prefix}:{Path(path).name}" if prefix else Path(path).name
