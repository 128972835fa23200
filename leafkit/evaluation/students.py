"""The students of an evaluation, opened the way they are to be measured: in training's torch, or as they ship."""

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
from leafkit.vectors.mapping import LinearMap, read_mapping

ENCODERS = ("torch", "onnx", "onnx-int8")
"""torch: the trained student. onnx, onnx-int8: what a query host runs, in float32 and in int8."""


_AT_ONCE = 1024


@dataclass(frozen=True)
class OpenStudent:
    """An open student: what the rows call it, its vectors, the hash of its files, and its coordinates.

    ``mapping`` leads there from the teacher's own; None where they are the same. ``curve`` is how it was trained.
    """

    name: str
    encoder: Encoder
    sha256: str
    mapping: LinearMap | None = None
    curve: tuple[CurvePoint, ...] = ()


class ProgressEncoder:
    """A student's ``encoder`` that shows its progress under ``name`` where there is much to encode."""

    def __init__(self, encoder: Encoder, name: str) -> None:
        self._encoder = encoder
        self._name = name
        self.space = encoder.space

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, dim)."""
        if len(texts) <= _AT_ONCE:
            return self._encoder.encode(texts, role)
        parts = []
        with progress(self._name, total=len(texts), unit="texts") as bar:
            for start in range(0, len(texts), _AT_ONCE):
                parts.append(self._encoder.encode(texts[start : start + _AT_ONCE], role))
                bar.update(len(parts[-1]))
        return numpy.concatenate(parts)


def open_students(student: Paths, encoder: str, device: str | None, compute: Compute = "float32") -> list[OpenStudent]:
    """Every student, under its folder's name, in torch computing in ``compute``.

    Raises `OptionError` for an unknown ``encoder`` or one given twice.
    """
    if encoder not in ENCODERS:
        raise OptionError(f"unknown encoder {encoder!r}; wanted one of {', '.join(ENCODERS)}")
    folders = [resolve_student(folder) for folder in as_paths(student)]
    return [
        _student(name, folder, encoder, device, compute)
        for name, folder in zip(distinct_names(folders, what="student"), folders, strict=True)
    ]


def _student(name: str, folder: Path, encoder: str, device: str | None, compute: Compute) -> OpenStudent:
    opened = _open(folder, encoder, device, compute)
    mapping = read_mapping(folder, opened.space)
    curve = learning_curve(read_student(folder).training)
    return OpenStudent(name, ProgressEncoder(opened, name), student_digest(folder), mapping, curve)


def check_spaces(students: Sequence[OpenStudent], space: Space | None) -> Space:
    """The space all of them share with the teacher's ``space`` (or with each other, where there is none).

    Raises `SpaceError` naming the first student of another space.
    """
    if space is None and not students:
        raise InputError("nothing to measure: give a teacher, a student, or both (--teacher, --student)")
    owner = "the teacher" if space else f"the student {students[0].name}"
    wanted = space or students[0].encoder.space
    for student in students:
        if wanted.difference(student.encoder.space) == "rotation":
            raise SpaceError(
                f"the student {student.name} writes the space in the coordinates {student.encoder.space.rotation}, "
                f"{students[0].name} in {wanted.rotation}; measure students of different rotations one at a time"
            )
        require_same(wanted, student.encoder.space, wanted_by=owner, got_from=f"the student {student.name}")
    return wanted


def _open(folder: Path, encoder: str, device: str | None, compute: Compute) -> Encoder:
    if encoder == "torch":
        from leafkit.students.encoder import open_student
        from leafkit.teachers.sentence_transformer import set_compute

        opened = open_student(folder, device=device)
        set_compute(opened.model, compute, label=folder.name)
        return opened
    from leafkit.search.query_encoder import QueryEncoder

    return QueryEncoder.open(folder, precision="int8" if encoder == "onnx-int8" else "float32")
