"""Open what a student starts from: a model, the teacher's own model, or a student that has only ONNX files."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import OptionError, SpaceError
from leafkit.students.card_metadata import origin_of
from leafkit.students.contents import MARKER
from leafkit.students.folder import check_files, read_student
from leafkit.students.source import open_model, source_folder
from leafkit.students.spec import FORMS, Pretrained, StudentSpec, parse_student
from leafkit.students.student import transformer_of
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import FIELDS, RecordedSpace, adopt
from leafkit.types import Teacher
from leafkit.vectors.adopted import AdoptedTeacher
from leafkit.vectors.cached import CachedEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger("leafkit")


def open_source(spec: StudentSpec, teacher_model: str | None) -> SentenceTransformer | None:
    """Open the model that the student ``spec`` starts from, on the CPU in float32; None if it starts from no model.

    ``teacher_model`` is the folder or hub id of the teacher's model. Raises `OptionError` if the student should start
    from the teacher's model and there is none, `InputError` if the model cannot be opened, and `DamageError` if a file
    of a student was changed.
    """
    if not isinstance(spec, Pretrained):
        return None
    source = teacher_model if spec.source == "teacher" else spec.source
    if source is None:
        raise OptionError(
            "the student should start from the teacher's model, but this teacher is not a sentence-transformers model. "
            f"Name a model to start from. A student is one of:\n{FORMS}"
        )
    folder = source_folder(source)
    if (folder / MARKER).is_file():
        facts = read_student(folder)
        if facts.runtime_only:
            from leafkit.onnx.restore import restore

            return restore(folder).model
        check_files(facts)
    return open_model(source)


def open_for_student(teacher: str | Path | Teacher, options: TeacherOptions, student: str | None) -> Teacher:
    """Open ``teacher`` to train ``student`` with.

    If the student starts from another student, and the teacher writes the vectors of that student's space, the teacher
    is adopted into this space, so that the trained student fits the same indexes.
    """
    opened = open_with(teacher, options)
    spec = None if student is None else parse_student(student)
    if not isinstance(spec, Pretrained) or not is_student(spec) or isinstance(opened, AdoptedTeacher):
        return opened
    folder = source_folder(spec.source)
    try:
        fixed = FIELDS if opened is teacher else options.given()
        return adopt(opened, RecordedSpace.of_student(folder), name=f"the teacher {opened.space.teacher}", fixed=fixed)
    except SpaceError as error:
        logger.info("the new student leaves the space of the one it starts from: %s", error)
        return opened


def is_student(spec: StudentSpec) -> bool:
    """Tell whether the student ``spec`` starts from a finished student."""
    return isinstance(spec, Pretrained) and spec.source != "teacher" and (source_folder(spec.source) / MARKER).is_file()


def origin(spec: StudentSpec, teacher_model: str | None) -> dict[str, str]:
    """Return licence and base model (``license``, ``base_model``) of what ``spec`` starts from, as far as stated there.

    ``teacher_model`` is the folder or hub id of the teacher's model.
    """
    if not isinstance(spec, Pretrained):
        return {}
    source = teacher_model if spec.source == "teacher" else spec.source
    return {} if source is None else origin_of(source, source_folder(source))


def teacher_model(teacher: Any) -> str | None:
    """Return the folder or hub id of the sentence-transformers model behind ``teacher``; None if there is none."""
    if isinstance(teacher, CachedEncoder):
        return teacher_model(teacher.teacher)
    model = getattr(teacher, "model", None)
    transformer = transformer_of(model) if isinstance(model, Iterable) else None
    return (transformer.name_or_path or None) if transformer is not None else None
