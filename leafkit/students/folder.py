"""The folder of a finished student: a plain sentence-transformers model, and leafkit.json with space and history."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError, InputError
from leafkit.files.atomic import write_json
from leafkit.files.digest import sha256_file
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space
from leafkit.vectors.fingerprint import Fingerprint
from leafkit.vectors.mapping import LinearMap

if TYPE_CHECKING:
    from leafkit.students.student import Student

MARKER = "leafkit.json"
FORMAT, VERSION = "leafkit-student", 1


@dataclass(frozen=True, kw_only=True)
class StudentFacts:
    """The content of a student's leafkit.json.

    ``path`` is the folder. ``head_width`` is the number of inputs of the student's head. ``weights`` maps each weight
    file to its SHA-256. ``training`` records how the student was made (recipe, data, validation). ``raw`` is the
    whole JSON object.
    """

    path: Path
    space: Space
    head_width: int
    weights: dict[str, str]
    training: dict[str, Any]
    raw: dict[str, Any]

    @property
    def runtime_only(self) -> bool:
        """Whether the folder has ONNX files but no torch weights, like the students that ship with leafkit."""
        exported = (self.path / "onnx" / "export.json").is_file()
        return exported and not any((self.path / name).is_file() for name in self.weights)


def write_student(
    folder: Path,
    student: Student,
    space: Space,
    training: dict[str, Any],
    mapping: LinearMap | None = None,
    fingerprint: Fingerprint | None = None,
) -> StudentFacts:
    """Write ``student`` into ``folder``, so that plain SentenceTransformer(folder) gives the same vectors.

    ``mapping`` leads from the teacher's coordinates to those of ``space``; None if the two are the same.
    ``fingerprint`` is that of the teacher's space.
    """
    from leafkit.students.other_runtimes import describe_for_other_runtimes
    from leafkit.students.source import quiet_transformers

    with quiet_transformers(), _full_disk_as_os_error(folder):
        student.model.save_pretrained(str(folder), create_model_card=False)
    describe_for_other_runtimes(folder, student)
    if mapping is not None:
        mapping.save(folder)
    if fingerprint is not None:
        fingerprint.save(folder)
    weights = {file.relative_to(folder).as_posix(): sha256_file(file) for file in sorted(folder.rglob("*.safetensors"))}
    write_json(
        folder / MARKER,
        {
            "format": FORMAT,
            "version": VERSION,
            "space": space.to_json(),
            "head_width": student.head.in_features,
            "weights": weights,
            "training": training,
        },
    )
    return read_student(folder)


def read_student(path: str | PathLike[str]) -> StudentFacts:
    """Read the facts of the student at ``path`` (a folder, or the name of a shipped student) without loading it.

    Raises `InputError` if the folder holds no student, and `DamageError` if leafkit.json does not describe a student.
    """
    folder = resolve_student(path)
    file = folder / MARKER
    if not file.is_file():
        raise InputError(
            f"{folder} holds no student: it has no {MARKER}{shipped_hint(folder)}. "
            "Make a student with `leafkit distill`."
        )
    try:
        raw = json.loads(file.read_bytes())
        if (raw["format"], raw["version"]) != (FORMAT, VERSION):
            raise DamageError(
                f"{file} has format {raw['format']} version {raw['version']}; expected {FORMAT} version {VERSION}. "
                "Distil the student again, or use the leafkit that wrote it."
            )
        return StudentFacts(
            path=folder,
            space=Space.from_json(raw["space"], where=str(file)),
            head_width=int(raw["head_width"]),
            weights={str(name): str(digest) for name, digest in raw["weights"].items()},
            training=dict(raw["training"]),
            raw=raw,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"{file} does not describe a student: {error!r}. Distil the student again.") from error


def check_weights(facts: StudentFacts) -> None:
    """Raise `DamageError` for the first weight file that is missing or differs from the one that was written."""
    for name, digest in facts.weights.items():
        file = facts.path / name
        if not file.is_file():
            raise DamageError(f"{file} is missing. Copy the whole student folder again, or distil the student again.")
        if sha256_file(file) != digest:
            raise DamageError(
                f"{file} is truncated or changed: its SHA-256 differs from the one in {MARKER}. "
                "Copy the student folder again."
            )


@contextlib.contextmanager
def _full_disk_as_os_error(folder: Path) -> Iterator[None]:
    """Turn safetensors' own error about a full disk into an OSError, which `leafkit.files.atomic` recognises."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        if f"os error {errno.ENOSPC}" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
