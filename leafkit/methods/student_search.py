"""Decide what the student is: the model that the user names, or the result of an architecture search."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import OptionError
from leafkit.files.atomic import atomic_folder, write_json
from leafkit.files.checksums import CHECKSUMS, check_checksums, write_checksums
from leafkit.files.json_file import read_json_object
from leafkit.methods.budget import Budget, parse_budget
from leafkit.methods.method import Architecture, Method
from leafkit.methods.registry import check_option, method_name, method_spec, parse_method
from leafkit.students.spec import Fresh, StudentSpec, parse_student

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


# What the folder of a search holds: the student's config, its pooling, and its weights if there are any.
_CONFIG, _POOLING, _WEIGHTS = "architecture.json", "pooling.json", "weights"


@dataclass(frozen=True, kw_only=True)
class StudentSearch:
    """The student that the user named, or the search that finds it.

    ``name`` is the student's name, or a description of the search. ``architecture`` and ``budget`` are None without a
    search.
    """

    name: str
    architecture: Architecture | None = None
    budget: Budget | None = None

    @property
    def named(self) -> StudentSpec | None:
        """The student that the user named; None if a search has to find it."""
        return parse_student(self.name) if self.architecture is None else None

    def student(self, folder: Path, teacher: Any, texts: Sequence[str], seed: int) -> StudentSpec:
        """Return the student; run the search if there is one.

        A search writes its result below ``folder``, and later calls reuse it. Raises `OptionError` if a search is given
        and ``teacher`` is not a sentence-transformers model, and `DamageError` if the result was changed.
        """
        if self.architecture is None or self.budget is None:
            return parse_student(self.name)
        found = folder / "architecture"
        if found.is_dir():
            check_checksums(found, advice=f"Delete {folder} to start again.")
        else:
            with atomic_folder(found, marker=CHECKSUMS) as new:
                picked = self.architecture.pick(_teacher_model(teacher), texts, self.budget, seed)
                write_json(new / _CONFIG, picked.config)
                write_json(new / _POOLING, {"pooling": picked.pooling})
                if picked.weights is not None:
                    shutil.copytree(picked.weights, new / _WEIGHTS)
                write_checksums(new)
        weights = str(found / _WEIGHTS) if (found / _WEIGHTS).is_dir() else None
        pooling = read_json_object(found / _POOLING)["pooling"]
        return Fresh(config=str(found / _CONFIG), pooling=pooling, weights=weights)


def choose_student(student: str | None, architecture: str | Method | None, budget: str | None) -> StudentSearch:
    """Return how to get the student: by the name ``student``, or by a search with ``architecture`` within ``budget``.

    Raises `OptionError` unless exactly one of the two ways is given.
    """
    if architecture is None:
        if budget is not None:
            raise OptionError(
                f"budget is {budget!r}, but only an architecture search uses a budget. Add architecture, e.g. diswot."
            )
        if student is None:
            raise OptionError(
                "no student is given. Name one (e.g. teacher:layers=3), or give an architecture search with a budget."
            )
        parse_student(student)
        return StudentSearch(name=student)
    search = parse_method(architecture)
    check_option(search, "architecture")
    if not isinstance(search, Architecture):
        raise TypeError(f"{method_name(search)} is given as architecture but is not a subclass of Architecture")
    if student is not None:
        raise OptionError(
            f"student is {student!r}, but {method_name(search)} searches for the student. Give one of the two."
        )
    if budget is None:
        raise OptionError(f"{method_name(search)} needs a budget. Add one, e.g. budget='2M params, 1 ms'.")
    return StudentSearch(
        name=f"{method_spec(search)} within {budget}", architecture=search, budget=parse_budget(budget)
    )


def _teacher_model(teacher: Any) -> SentenceTransformer:
    """Return the sentence-transformers model inside ``teacher``."""
    model = getattr(teacher, "model", None) or getattr(getattr(teacher, "teacher", None), "model", None)
    if model is None:
        raise OptionError(
            "an architecture search reads the layers of the teacher, but this teacher is not a sentence-transformers "
            "model. Choose another teacher or name the student."
        )
    return model
