"""Recognise the teacher of a recorded space by the vectors that it writes.

Equal space ids are enough, and then no text is encoded. With other ids the teacher writes the vectors of the recorded
fingerprint's texts. If they agree, the teacher is adopted into the recorded space::

    recorded = RecordedSpace.of_student("bge-small-leaf")
    teacher = open_in_space("BAAI/bge-small-en-v1.5", options, recorded)
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import SpaceError
from leafkit.space import Space, describe, require_same
from leafkit.students.folder import read_student
from leafkit.teachers.agreement import agreement_with
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher
from leafkit.vectors.adopted import AdoptedTeacher
from leafkit.vectors.fingerprint import Agreement, Fingerprint, read_fingerprint
from leafkit.vectors.mapping import read_mapping
from leafkit.vectors.store import is_exact

PROMPTS = ("query_prompt", "document_prompt")
FIELDS = (*PROMPTS, "normalised")  # what a teacher that does not say so itself takes from the recorded space

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class RecordedSpace:
    """The space of a teacher's vectors that ``owner``, a student or an index, records, before any rotation or fold.

    ``fingerprint`` is None in a folder that an earlier leafkit wrote; such a space is recognised by its id alone.
    """

    owner: str
    space: Space
    fingerprint: Fingerprint | None

    @classmethod
    def of_student(cls, student: str | Path) -> RecordedSpace:
        """Read the record of a student, given as a folder or as the name of one that ships."""
        facts = read_student(student)
        mapping = read_mapping(facts.path, facts.space)
        space = mapping.base if mapping else facts.space
        return cls(owner=f"the student {student}", space=space, fingerprint=read_fingerprint(facts.path, space))


def open_in_space(teacher: str | Path | Teacher, options: TeacherOptions, recorded: RecordedSpace | None) -> Teacher:
    """Open ``teacher`` as `open_with` does, and adopt it into the ``recorded`` space, if one is given.

    A prompt that neither the options nor the teacher's own files give is taken from the recorded space, and so is the
    normalisation of an ONNX folder that records none. Raises `SpaceError` for a teacher of another space.
    """
    opened = open_with(teacher, options)
    if recorded is None:
        return opened
    is_open = not isinstance(teacher, str | Path)
    return adopt(
        opened,
        recorded,
        name=f"the teacher {opened.space.teacher if is_open else teacher}",
        fixed=FIELDS if is_open else options.given(),
    )


def adopt(teacher: Teacher, recorded: RecordedSpace, *, name: str, fixed: Collection[str] = FIELDS) -> Teacher:
    """Return ``teacher`` as a teacher of the ``recorded`` space.

    name: what messages call the teacher.
    fixed: the fields of its space that must stay as they are; by default all of them.

    A student is returned as it is: its vectors only approximate those of its space, so only ids tell. Raises
    `SpaceError` if the ids differ and the vectors differ as well or cannot be compared.
    """
    space = recorded.space
    if teacher.space.id == space.id or not is_exact(teacher):
        return teacher
    completed = _completed(teacher, space, fixed)
    if completed is not teacher:
        log.info("%s records no prompt or normalisation of its own: taking those of %s", name, recorded.owner)
    if completed.space.id == space.id:
        return completed
    agreement = None if recorded.fingerprint is None else agreement_with(recorded.fingerprint, completed)
    if agreement is None:
        require_same(space, teacher.space, expected_by=recorded.owner, got_from=name)
        return teacher
    if not agreement.is_same_space or _other_length(space, completed.space):
        raise SpaceError(_refusal(agreement, recorded, completed.space, name))
    log.info("%s writes the vectors of %s (%s): same space", name, space.teacher, agreement)
    return AdoptedTeacher(completed, space, recorded.fingerprint)


def _completed(teacher: Teacher, space: Space, fixed: Collection[str]) -> Teacher:
    """Return ``teacher`` with those prompts of ``space`` that it lacks itself, and its normalisation if unrecorded."""
    change: Any = getattr(teacher, "with_fields", None)
    unknown = [name for name in PROMPTS if not getattr(teacher.space, name)]
    if not getattr(teacher, "records_normalisation", True):
        unknown.append("normalised")
    fields = {name: getattr(space, name) for name in unknown if name not in fixed}
    return change(fields) if change and any(fields.values()) else teacher


def _other_length(expected: Space, got: Space) -> bool:
    """Tell whether both spaces limit the length of texts, and differently: a fingerprint may have no text so long."""
    return None not in (expected.max_length, got.max_length) and expected.max_length != got.max_length


def _refusal(agreement: Agreement, recorded: RecordedSpace, got: Space, name: str) -> str:
    differing = "".join(
        f"\n  {field} is {getattr(got, field)!r}; expected {getattr(recorded.space, field)!r}"
        for field in (*PROMPTS, "max_length", "pooling", "normalised")
        if getattr(got, field) != getattr(recorded.space, field)
    )
    return (
        f"{name} does not write the vectors of {recorded.owner}: {agreement.shortfall}.{differing}\n"
        f"  {recorded.owner}: {describe(recorded.space)}\n  {name}: {describe(got)}\n"
        "Use the model, prompts and maximum length that the vectors were made with, or build from this teacher anew."
    )
