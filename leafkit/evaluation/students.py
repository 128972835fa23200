"""Open the students to measure: in torch as trained, or in ONNX as exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from leafkit.errors import InputError, OptionError, SpaceError
from leafkit.evaluation.folder_names import Paths, as_paths, distinct_names
from leafkit.evaluation.learning_curve import CurvePoint, learning_curve
from leafkit.evaluation.provenance import student_digest
from leafkit.files.progress import progress
from leafkit.shipped import resolve_student
from leafkit.space import Space, require_same
from leafkit.students.folder import read_student
from leafkit.teachers.options import Compute
from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.fingerprint import Fingerprint, read_fingerprint
from leafkit.vectors.mapping import LinearMap, read_mapping

ENCODERS = ("torch", "onnx", "onnx-int8")
"""torch: the trained student. onnx, onnx-int8: the export that a search host runs, in float32 and in int8."""

_TEXTS_PER_CALL = 1024


@dataclass(frozen=True)
class OpenStudent:
    """An open student: its name in the results, its encoder, the hash of its files and its coordinates.

    ``mapping`` leads from the teacher's coordinates to the student's; None if they are the same. ``curve`` holds the
    validations of the student's training, and ``fingerprint`` what the teacher writes; None for an old student.
    """

    name: str
    encoder: Encoder
    sha256: str
    mapping: LinearMap | None = None
    curve: tuple[CurvePoint, ...] = ()
    fingerprint: Fingerprint | None = None


class ProgressEncoder:
    """An encoder that shows a progress bar named ``name`` while it encodes many texts."""

    def __init__(self, encoder: Encoder, name: str) -> None:
        self._encoder = encoder
        self._name = name
        self.space = encoder.space

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim)."""
        if len(texts) <= _TEXTS_PER_CALL:
            return self._encoder.encode(texts, role)
        parts = []
        with progress(self._name, total=len(texts), unit="texts") as bar:
            for start in range(0, len(texts), _TEXTS_PER_CALL):
                parts.append(self._encoder.encode(texts[start : start + _TEXTS_PER_CALL], role))
                bar.update(len(parts[-1]))
        return numpy.concatenate(parts)


def choose_encoder(student: Paths, encoder: str | None) -> str:
    """Return ``encoder``, or by default torch, or else the fastest of `ENCODERS` that every student has files for.

    Raises `OptionError` for an unknown encoder.
    """
    if encoder is not None and encoder not in ENCODERS:
        raise OptionError(f"unknown encoder {encoder!r}; expected one of {', '.join(ENCODERS)}.")
    if encoder is not None:
        return encoder
    students = [read_student(folder) for folder in as_paths(student)]
    if not any(facts.runtime_only for facts in students):
        return "torch"
    from leafkit.search.query_encoder import FILES

    return "onnx-int8" if all((facts.path / FILES["int8"]).is_file() for facts in students) else "onnx"


def open_students(student: Paths, encoder: str, device: str | None, compute: Compute = "float32") -> list[OpenStudent]:
    """Open every student and name it after its folder.

    ``encoder`` is one of `ENCODERS`; ``device`` and ``compute`` apply to torch. Raises `OptionError` for a student
    that is given twice.
    """
    folders = [resolve_student(folder) for folder in as_paths(student)]
    return [
        _open_student(name, folder, encoder, device, compute)
        for name, folder in zip(distinct_names(folders, what="student"), folders, strict=True)
    ]


def _open_student(name: str, folder: Path, encoder: str, device: str | None, compute: Compute) -> OpenStudent:
    opened = _open_encoder(folder, encoder, device, compute)
    mapping = read_mapping(folder, opened.space)
    curve = learning_curve(read_student(folder).training)
    fingerprint = read_fingerprint(folder, mapping.base if mapping else opened.space)
    return OpenStudent(name, ProgressEncoder(opened, name), student_digest(folder), mapping, curve, fingerprint)


def _open_encoder(folder: Path, encoder: str, device: str | None, compute: Compute) -> Encoder:
    if encoder == "torch":
        from leafkit.students.encoder import open_student
        from leafkit.teachers.sentence_transformer import set_compute

        opened = open_student(folder, device=device)
        set_compute(opened.model, compute, label=folder.name)
        return opened
    from leafkit.search.query_encoder import QueryEncoder

    return QueryEncoder.open(folder, precision="int8" if encoder == "onnx-int8" else "float32")


def check_spaces(students: Sequence[OpenStudent], space: Space | None) -> Space:
    """Return the space that all students share with the teacher's ``space`` (with each other if it is None).

    Raises `SpaceError` that names the first student of another space, and `InputError` without any model.
    """
    if space is None and not students:
        raise InputError("nothing to measure: no teacher and no student is given. Add --teacher, --student or both.")
    owner = "the teacher" if space else f"the student {students[0].name}"
    expected = space or students[0].encoder.space
    for student in students:
        if expected.difference(student.encoder.space) == "rotation":
            raise SpaceError(
                f"the student {student.name} uses the coordinates {student.encoder.space.rotation}, but "
                f"{students[0].name} uses {expected.rotation}. Measure students of different rotations one at a time."
            )
        if _learned_the_same(students[0], student):
            continue
        require_same(expected, student.encoder.space, expected_by=owner, got_from=f"the student {student.name}")
    return expected


def _learned_the_same(first: OpenStudent, other: OpenStudent) -> bool:
    """Tell whether two students without rotations learned from copies of one teacher, by their fingerprints."""
    if first.fingerprint is None or other.fingerprint is None or first.mapping or other.mapping:
        return False
    agreement = first.fingerprint.agreement(other.fingerprint)
    return agreement is not None and agreement.is_same_space
