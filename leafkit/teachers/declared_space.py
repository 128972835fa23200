"""A teacher that is declared to write a student's space: vectors of an API, another tool or another copy of the model.

Such vectors carry no space of leafkit's, or that of other weight files. Whoever has them knows which model made
them; the student of that model tells whether this can be so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy

from leafkit.errors import SpaceError
from leafkit.search.query_encoder import RECORD, QueryEncoder
from leafkit.space import Space, describe
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student
from leafkit.students.golden import GOLDEN
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.vectors_file import VectorsFileTeacher
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.mapping import map_teacher, read_mapping
from leafkit.vectors.vectors_file import open_vectors_file
from leafkit.vectors.vectors_file_types import VectorsFile

# Six layers of bge-small-en-v1.5 before any training have 0.84 with it and 0.21 with all-MiniLM-L6-v2, which also has
# 384 numbers. Vectors of the right model for other texts have 0.49, but are not nearest.
LEAST_COSINE, LEAST_NEAREST = 0.5, 0.5
CHECKED = 64


@dataclass(frozen=True)
class DeclaredSpaceTeacher:
    """``teacher``, whose vectors live in ``space`` by the user's word and a student's."""

    teacher: Teacher
    space: Space
    approximate: bool = False

    @property
    def signals(self) -> frozenset[str]:
        """What the teacher can give."""
        return self.teacher.signals

    @property
    def model(self) -> object:
        """The sentence-transformers model behind it, from which a student can be cut; None if there is none."""
        return getattr(self.teacher, "model", None)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, dim), float32, in the order given."""
        return self.teacher.encode(texts, role)


def open_in_declared_space(
    teacher: str, options: TeacherOptions, opener: Callable[[str, TeacherOptions], Teacher]
) -> DeclaredSpaceTeacher:
    """The ``teacher`` in the space of the student ``options.teacher_space``, whose prompts and length it gets.

    Some texts are encoded by both: those of a vectors file, else a few that leafkit brings. Raises `SpaceError`
    unless the mean cosine is above 0.5 and half of the texts are nearest to themselves.
    """
    told = ("teacher_name", "max_length", "query_prompt", "document_prompt", "normalised")
    options.refuse(told, kind="a teacher in the space of a student, which records it")
    facts = read_student(options.teacher_space or "")
    mapping = read_mapping(facts.path, facts.space)
    space = mapping.base if mapping else facts.space
    given = {name: getattr(space, name) for name in told if name != "teacher_name"}
    opened = opener(teacher, replace(options, teacher_space=None, teacher_name=space.teacher, **given))
    if opened.space.dim != space.dim:
        raise SpaceError(
            f"{teacher} has vectors of {opened.space.dim} numbers, the space of {facts.path} has {space.dim}: "
            f"{describe(space)}"
        )
    file = open_vectors_file(opened.path) if isinstance(opened, VectorsFileTeacher) else None
    declared = DeclaredSpaceTeacher(opened, space, approximate=bool(file and file.label and file.label.approximate))
    runtime = (facts.path / RECORD).is_file()
    student = QueryEncoder.open(facts.path) if runtime else open_student(facts.path, device=options.device)
    _check(teacher, map_teacher(declared, mapping), student, _texts(file))
    return declared


def _texts(file: VectorsFile | None) -> list[tuple[str, Role]]:
    if file is None:
        return list(GOLDEN)
    rows = ((text, role or "document") for batch in file.batches for text, role in zip(batch.texts, batch.roles))
    return list(dict.fromkeys(islice(rows, CHECKED)))


def _check(name: str, teacher: Encoder, student: Encoder, texts: Sequence[tuple[str, Role]]) -> None:
    """Raise `SpaceError` unless ``student`` comes near the vectors of ``teacher``, each text nearest to its own."""
    left, right = (_units(encoder, texts) for encoder in (student, teacher))
    cosines = left @ right.T
    own = cosines.diagonal()
    # Equal vectors are as near as it gets, whichever row they are in.
    nearest = float((own >= cosines.max(axis=1) - 1e-3).mean())
    if own.mean() <= LEAST_COSINE or nearest < LEAST_NEAREST:
        raise SpaceError(
            f"{name} was declared to have vectors of the space {describe(student.space)}, but its student does not "
            f"know them: over {len(texts)} texts the mean cosine is {own.mean():.3f} (wanted more than {LEAST_COSINE}) "
            f"and {nearest:.0%} are nearest to their own (wanted {LEAST_NEAREST:.0%}). Are these the vectors of that "
            "model, and of these texts (with the title before the text where there is one)?"
        )


def _units(encoder: Encoder, texts: Sequence[tuple[str, Role]]) -> Float32:
    vectors = numpy.concatenate([encoder.encode([text], role) for text, role in texts])
    return unit_rows(vectors)
