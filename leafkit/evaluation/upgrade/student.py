"""The student of the old space: opened, or distilled on the old texts and vectors within a budget."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError
from leafkit.evaluation.students import OpenStudent, choose_encoder, open_students
from leafkit.evaluation.upgrade.old import OldFile, OldIndex, OldVectors
from leafkit.search.query_encoder import FILES
from leafkit.space import require_same
from leafkit.students.folder import read_student
from leafkit.students.spec import Static, parse_student
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.record import Text
from leafkit.training.distill import distill
from leafkit.types import Role
from leafkit.vectors.vectors_file import open_vectors_file, vectors_file_writer
from leafkit.vectors.vectors_file_types import SpaceLabel

# A few thousand texts need a higher rate than the default of `Recipe`, and a token table a higher one yet.
RATE, TABLE_RATE = 3e-4, 1e-3


@dataclass(frozen=True, kw_only=True)
class OldStudent:
    """A student of the old space, which ``runtime`` runs, and the seconds of its training; None if not recorded."""

    student: OpenStudent
    runtime: str
    training_seconds: float | None


def open_old_student(student: str, old: OldVectors, options: TeacherOptions) -> OldStudent:
    """Open ``student`` as a search host runs it: its int8 export if it has one.

    Raises `SpaceError` unless the student belongs to the space of ``old``.
    """
    facts = read_student(student)
    runtime = "onnx-int8" if (facts.path / FILES["int8"]).is_file() else choose_encoder(student, None)
    (opened,) = open_students(student, runtime, options.device, options.compute)
    space, fingerprint = opened.encoder.space, old.fingerprint()
    known = None if opened.fingerprint is None or fingerprint is None else fingerprint.agreement(opened.fingerprint)
    if space.rotation is not None or known is None or not known.is_same_space:
        require_same(
            old.space, space, expected_by=f"the old vectors in {old.path}", got_from=f"the student {opened.name}"
        )
    history: list[dict[str, Any]] = facts.training.get("history") or []
    seconds = history[-1].get("seconds") if history else None
    return OldStudent(student=opened, runtime=runtime, training_seconds=seconds)


def train_old_student(old: OldVectors, start: str, out: Path, *, examples: int, **options: Any) -> None:
    """Distil a student from ``start`` into the old space, on the texts and vectors of ``old``, and write it to ``out``.

    examples: the texts that the student sees, repetitions counted.
    options: of `leafkit.distill`: cache, device and seed.

    An interrupted call continues when it is repeated. Raises the errors of `leafkit.distill`.
    """
    rate = TABLE_RATE if isinstance(parse_student(start), Static) else RATE
    with _pairs(old) as (path, texts):
        distill(path, path, start, out, epochs=examples / texts, learning_rate=rate, **options)


@contextmanager
def _pairs(old: OldVectors) -> Iterator[tuple[Path, int]]:
    """Give a vectors file of all texts in ``old``, and how many there are."""
    if isinstance(old, OldFile):
        yield old.path, open_vectors_file(old.path).rows
        return
    if not isinstance(old, OldIndex) or not old.is_exact:
        raise OptionError(
            f"the index {old.path} holds rotated or truncated vectors, from which no student of the old space can "
            "learn. Give --from a vectors file of the full vectors, or distil a student yourself and give --student."
        )
    with tempfile.TemporaryDirectory() as folder:
        path, label = Path(folder) / "old.parquet", SpaceLabel(space=old.space)
        pairs = old.sample("document", old.documents, seed=0)
        rows = [Text(id=str(row), text=text, role="document") for row, text in enumerate(pairs.texts)]
        roles: list[Role] = ["document"] * len(rows)
        with vectors_file_writer(path, label, precision="float16", texts=lambda: rows) as write:
            write(rows, roles, pairs.vectors)
        yield path, len(rows)
