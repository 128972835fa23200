"""A teacher that the user declares to belong to a student's vector space (``--teacher-space``).

This is for vectors from an API or another tool, which record no space, and for another copy of the model, whose weight
files differ. Only the user knows which model made such vectors. The declaration is checked: the student must return
similar vectors for a sample of the texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy

from leafkit.errors import SpaceError
from leafkit.search.query_encoder import RECORD, QueryEncoder
from leafkit.space import Space, describe
from leafkit.students.encoder import open_student
from leafkit.students.folder import read_student
from leafkit.teachers.agreement import agreement_with
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.vectors_file import VectorsFileTeacher, identity
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.adopted import AdoptedTeacher
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.fingerprint import Agreement, read_fingerprint
from leafkit.vectors.golden_texts import GOLDEN, askable
from leafkit.vectors.mapping import map_teacher, read_mapping
from leafkit.vectors.vectors_file import is_vectors_file, open_vectors_file
from leafkit.vectors.vectors_file_types import VectorsFile

# The smallest mean cosine between the student's and the teacher's vectors, and the smallest share of texts whose two
# vectors are nearest neighbours. Measured with an untrained student (six layers of bge-small-en-v1.5): its mean cosine
# is 0.84 with bge-small-en-v1.5, and 0.21 with all-MiniLM-L6-v2, which has the same width of 384. Vectors of the right
# model for other texts have a mean cosine of 0.49, but are not nearest neighbours.
MIN_COSINE, MIN_NEAREST = 0.5, 0.5
CHECKED = 64  # texts of a vectors file that are compared


def open_in_declared_space(
    teacher: str, options: TeacherOptions, opener: Callable[[str, TeacherOptions], Teacher]
) -> AdoptedTeacher:
    """Open ``teacher`` as a teacher of the space of the student ``options.teacher_space``.

    opener: opens the teacher; it gets the prompts and the maximum length of the student's space as options.

    A vectors file that holds the texts of the student's fingerprint must hold their vectors as well. Otherwise teacher
    and student encode some texts: the first of a vectors file, or else a few that ship with leafkit. Raises
    `SpaceError` unless the mean cosine is above 0.5 and at least half of the teacher's vectors are nearest to the
    student's vector of the same text.
    """
    recorded = ("teacher_name", "max_length", "query_prompt", "document_prompt", "normalised")
    options.refuse(recorded, kind="a teacher with teacher_space, because the student records it")
    facts = read_student(options.teacher_space or "")
    mapping = read_mapping(facts.path, facts.space)
    space = mapping.base if mapping else facts.space
    given = {name: getattr(space, name) for name in recorded if name != "teacher_name"}
    if is_vectors_file(Path(teacher)):  # with a name, the space that the file records does not contradict the options
        given["teacher_name"] = space.teacher
    opened = opener(teacher, replace(options, teacher_space=None, **given))
    if opened.space.dim != space.dim:
        raise SpaceError(
            f"{teacher} has vectors of width {opened.space.dim}; expected {space.dim}, the width of the space of "
            f"{facts.path}: {describe(space)}."
        )
    file = open_vectors_file(opened.path) if isinstance(opened, VectorsFileTeacher) else None
    fingerprint = read_fingerprint(facts.path, space)
    if isinstance(opened, VectorsFileTeacher) and file is not None:
        opened = replace(opened, space=replace(space, teacher=opened.path.name, weights=identity(file)))
    approximate = bool(file and file.label and file.label.approximate)
    declared = AdoptedTeacher(opened, space, fingerprint, approximate)
    if file is not None and fingerprint is not None and not approximate:
        agreement = agreement_with(fingerprint, opened)
        if agreement is not None:
            _check_agreement(teacher, agreement, space)
            return declared
    is_exported = (facts.path / RECORD).is_file()
    student = QueryEncoder.open(facts.path) if is_exported else open_student(facts.path, device=options.device)
    _check_declaration(teacher, map_teacher(declared, mapping), student, _sample_texts(file, opened))
    return declared


def _check_agreement(name: str, agreement: Agreement, space: Space) -> None:
    if not agreement.is_same_space:
        raise SpaceError(
            f"{name} was declared to belong to the space {describe(space)}, but holds other vectors for the texts of "
            f"its fingerprint: {agreement.shortfall}. Check that this model made the vectors, with these prompts."
        )


def _sample_texts(file: VectorsFile | None, teacher: Teacher) -> list[tuple[str, Role]]:
    """Return the first texts and roles of ``file``, or else the texts that ship with leafkit."""
    if file is None:
        return askable(GOLDEN, teacher)
    pairs: Iterator[tuple[str, Role | None]] = (
        pair for batch in file.batches for pair in zip(batch.texts, batch.roles, strict=True)
    )
    sample: dict[tuple[str, Role], None] = {}  # a dict keeps the order and drops repeated texts
    for text, role in islice(pairs, CHECKED):
        sample[text, role or "document"] = None
    return list(sample)


def _check_declaration(name: str, teacher: Encoder, student: Encoder, texts: Sequence[tuple[str, Role]]) -> None:
    """Raise `SpaceError` unless the vectors of ``student`` and ``teacher`` for ``texts`` are similar."""
    left, right = (_unit_vectors(encoder, texts) for encoder in (student, teacher))
    cosines = left @ right.T
    own = cosines.diagonal()
    # The tolerance lets equal vectors in other rows count as equally near.
    nearest = float((own >= cosines.max(axis=1) - 1e-3).mean())
    if own.mean() <= MIN_COSINE or nearest < MIN_NEAREST:
        raise SpaceError(
            f"{name} was declared to belong to the space {describe(student.space)}, but the vectors of the student "
            f"differ: over {len(texts)} texts the mean cosine is {own.mean():.3f} (expected more than {MIN_COSINE}), "
            f"and for {nearest:.0%} of the texts the two vectors are nearest neighbours (expected at least "
            f"{MIN_NEAREST:.0%}). Check that this model made the vectors, and that they belong to these texts (with "
            "the title before the text, if there is a title)."
        )


def _unit_vectors(encoder: Encoder, texts: Sequence[tuple[str, Role]]) -> Float32:
    vectors = numpy.concatenate([encoder.encode([text], role) for text, role in texts])
    return unit_rows(vectors)
