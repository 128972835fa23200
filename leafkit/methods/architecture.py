"""The student of a training: named by the user, or searched for within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import OptionError
from leafkit.files.atomic import write_json
from leafkit.methods.budget import Budget, parse_budget
from leafkit.methods.registry import describe, folder_of, name_of, parse
from leafkit.methods.system import Architecture, System
from leafkit.students.spec import parse_student

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True, kw_only=True)
class Search:
    """``name`` is what was asked for; ``architecture`` searches within ``budget``, None where there is no search."""

    name: str
    architecture: Architecture | None = None
    budget: Budget | None = None

    def student(self, folder: Path, teacher: Any, texts: Sequence[str], seed: int) -> str:
        """The student as `leafkit.students.spec` names it; one that is found is kept in ``folder`` and found once."""
        if self.architecture is None or self.budget is None:
            return self.name
        config = folder / "architecture.json"
        if not config.is_file():
            write_json(config, self.architecture.pick(_model(teacher), texts, self.budget, seed))
        return f"fresh:{config}"


def choose_student(student: str | None, architecture: str | System | None, budget: str | None) -> Search:
    """What makes the student; raises `OptionError` unless it is either named or searched for."""
    if architecture is None:
        if budget is not None:
            raise OptionError(f"budget {budget!r} is for a search; name one with architecture, e.g. diswot")
        if student is None:
            raise OptionError("no student: name one (e.g. teacher:layers=3), or an architecture search with its budget")
        parse_student(student)
        return Search(name=student)
    searcher = parse(architecture)
    if not isinstance(searcher, Architecture):
        raise OptionError(f"{name_of(searcher)} finds no student; it belongs to {folder_of(searcher)}")
    if student is not None:
        raise OptionError(f"the student is {student!r} and is to be searched for by {name_of(searcher)}; choose one")
    if budget is None:
        raise OptionError(f"{name_of(searcher)} needs a budget, e.g. '2M params, 1 ms'")
    return Search(name=f"{describe(searcher)} within {budget}", architecture=searcher, budget=parse_budget(budget))


def _model(teacher: Any) -> SentenceTransformer:
    model = getattr(teacher, "model", None) or getattr(getattr(teacher, "teacher", None), "model", None)
    if model is None:
        raise OptionError("a search looks into the teacher, and this one is no sentence-transformers model")
    return model
