"""The ladder of an index: its students, from the fastest to the best, each with the effort that chooses it.

What a student is follows from its graph: a transformer has one softmax for each of its layers, and a token table none.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError
from leafkit.files.json_file import explain_invalid
from leafkit.search.graph_check import count_operators
from leafkit.search.manifest_fields import EFFORT, FULL, MOST_RUNGS, TEACHER
from leafkit.search.query_encoder import FILES, ExportRecord
from leafkit.shipped import resolve_student

Student = str | PathLike[str]
Students = Student | Sequence[Student] | None
"""One student, several or none, as `leafkit.build_index` takes them: folders, names, or ``EFFORT=STUDENT``."""

TABLE, SMALL, MEDIUM = "table", "small", "medium"
_NAMED = re.compile(r"([^/=]+)=(.+)", re.DOTALL)
# The operators of which a layer of attention has one.
_PER_LAYER = ("Softmax", "Attention")


@dataclass(frozen=True, slots=True)
class PlannedRung:
    """A student that an index will hold. ``student`` is what the user gave, without the name of the effort.

    ``layers`` counts its transformer layers, 0 for a token table; None for an only student without a name.
    """

    effort: str
    student: Student
    layers: int | None = None

    @property
    def folder(self) -> Path:
        """The folder of the student."""
        return resolve_student(self.student)


def plan_ladder(students: Students, *, fold: Student | None = None) -> list[PlannedRung]:
    """Return ``students`` from the fastest to the best, each with its effort. The last one is the default.

    ``EFFORT=STUDENT`` names the effort. Without a name a token table is ``table``, the transformer with the most layers
    ``full``, the one with the fewest ``small``, and one in between ``medium``; an only student is ``full``. The order
    is that of the layers and then of the bytes, but ``full`` is always last.

    fold: the student that the index is folded for, which is then its only student.

    Raises `OptionError` for two students with one effort, for a name that no effort can have, and for several students
    of a folded index; `InputError` for one that is not an exported student.
    """
    given = [_split(one) for one in _as_list(students)]
    if fold is not None:
        return [PlannedRung(FULL, _only(fold, given))]
    if len(given) > MOST_RUNGS:
        raise OptionError(f"{len(given)} students are given; an index holds at most {MOST_RUNGS}.")
    if len(given) < 2 and all(effort in (None, FULL) for effort, _ in given):
        return [PlannedRung(FULL, student) for _, student in given]
    sizes = [_layers_and_bytes(resolve_student(student)) for _, student in given]
    rungs = {}
    for (effort, student), (layers, size) in zip(given, sizes, strict=True):
        effort = effort or _derived_effort(layers, [other for other, _ in sizes])
        if effort in rungs:
            raise OptionError(
                f"the students {rungs[effort][1].student} and {student} would both be chosen by the effort {effort}. "
                "Name the effort of each: --student EFFORT=STUDENT."
            )
        rungs[effort] = (effort == FULL, layers, size), PlannedRung(effort, student, layers)
    return [rung for _, rung in sorted(rungs.values(), key=lambda pair: pair[0])]


def _as_list(students: Students) -> list[Student]:
    if students is None:
        return []
    return [students] if isinstance(students, str | PathLike) else list(students)


def _split(student: Student) -> tuple[str | None, Student]:
    """Return the effort that ``student`` names, or None, and the student."""
    named = _NAMED.fullmatch(student) if isinstance(student, str) and not Path(student).exists() else None
    if named is None:
        return None, student
    if not EFFORT.fullmatch(named[1]) or named[1] == TEACHER:
        wrong = "which is that of the teacher" if named[1] == TEACHER else "which is no name"
        raise OptionError(
            f"{student} names the effort {named[1]!r}, {wrong}; expected up to 30 of a-z, 0-9, - and _. "
            "Write --student EFFORT=STUDENT, such as small=my-student."
        )
    return named[1], named[2]


def _only(fold: Student, given: Sequence[tuple[str | None, Student]]) -> Student:
    """Return the student that an index is folded for; raise `OptionError` if ``given`` holds any other."""
    if len(given) > 1:
        raise OptionError(
            f"the index is folded for the student {fold}, and no other can search it, but {len(given)} students are "
            "given. Give one student, or leave out the fold."
        )
    for _, student in given:
        if Path(fold).resolve() != Path(student).resolve():
            raise OptionError(
                f"the index is folded for the student {fold}, so {student} cannot search it. Give only one of the two."
            )
    return fold


def _derived_effort(layers: int, all_layers: Sequence[int]) -> str:
    """Return the effort of a student with so many ``layers`` among students with ``all_layers``."""
    if layers == 0:
        return TABLE
    if layers == max(all_layers):
        return FULL
    return SMALL if layers == min(filter(None, all_layers)) else MEDIUM


def _layers_and_bytes(student: Path) -> tuple[int, int]:
    """Return the transformer layers of the exported student in the folder ``student``, and the bytes of its graph."""
    record = ExportRecord.read(student)
    path = record.check(student, FILES[record.precisions[0]])
    with explain_invalid(path, expected="an ONNX file", advice="Export the student again."), open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return count_operators(content, _PER_LAYER), len(content)
