"""The folder of a finished student: a plain sentence-transformers model, and leafkit.json with space and history."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError, InputError
from leafkit.files.atomic import write_json
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.prompts import Prompts, prompts_of, recorded_prompts
from leafkit.shipped import resolve_student, shipped_hint
from leafkit.space import Space
from leafkit.students.contents import MARKER, check_file, check_names, check_settings, deciding_files, hash_files
from leafkit.vectors.fingerprint import Fingerprint
from leafkit.vectors.mapping import LinearMap

if TYPE_CHECKING:
    from leafkit.students.student import Student

FORMAT, VERSION = "leafkit-student", 2
# The version of students whose prompts are not those of their teacher. Other students stay readable everywhere.
VERSION_WITH_PROMPTS = 3
# Version 1 lists the weight files only, under this name.
LISTED = {1: "weights", VERSION: "files", VERSION_WITH_PROMPTS: "files"}


@dataclass(frozen=True, kw_only=True)
class StudentFacts:
    """The content of a student's leafkit.json.

    ``path`` is the folder. ``head_width`` is the number of inputs of the student's head. ``files`` maps each file that
    decides the student's vectors to its SHA-256; in a student of ``version`` 1, each weight file. ``prompts`` is what
    the student reads before the texts of each role; up to version 2, these are the teacher's prompts. ``training``
    records how the student was made (recipe, data, validation). ``raw`` is the whole JSON object.
    """

    path: Path
    version: int
    space: Space
    head_width: int
    files: dict[str, str]
    prompts: Prompts
    training: dict[str, Any]
    raw: dict[str, Any]

    @property
    def weights(self) -> dict[str, str]:
        """The SHA-256 of each weight file."""
        return {name: digest for name, digest in self.files.items() if name.endswith(".safetensors")}

    @property
    def has_own_prompts(self) -> bool:
        """Whether the student reads other prompts than its teacher."""
        return self.prompts != prompts_of(self.space)

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
    ``fingerprint`` is that of the teacher's space. Other files of the student, like the second moment of its queries,
    must be in ``folder`` before, because their hashes are written down here.
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
    return write_facts(
        folder, space=space, head_width=student.head.in_features, training=training, prompts=student.prompts
    )


def write_facts(
    folder: Path, *, space: Space, head_width: int, training: dict[str, Any], prompts: Prompts
) -> StudentFacts:
    """Write leafkit.json for the student whose other files are in ``folder``, with their hashes."""
    content = {"space": space.to_json(), "head_width": head_width, "files": hash_files(folder), "training": training}
    own = {} if prompts == prompts_of(space) else {"prompts": prompts}
    version = VERSION_WITH_PROMPTS if own else VERSION
    write_json(folder / MARKER, {"format": FORMAT, "version": version, **own, **content})
    # safetensors writes files that only their owner may read, the rest follows the umask.
    for name in content["files"]:
        (folder / name).chmod(stat.S_IMODE((folder / MARKER).stat().st_mode))
    return read_student(folder)


def read_student(path: str | PathLike[str]) -> StudentFacts:
    """Read the facts of the student at ``path`` (a folder, or the name of a shipped student) without loading it.

    Raises `InputError` if the folder holds no student, and `DamageError` if leafkit.json does not describe a student.
    """
    folder = resolve_student(path)
    file = folder / MARKER
    if not file.is_file():
        raise InputError(
            f"{folder} holds no student: it has no {MARKER}. Make a student with `leafkit distill`."
            f"{shipped_hint(folder)}"
        )
    with explain_invalid(file, expected="a description of a student", advice="Distil the student again."):
        raw = read_json_object(file)
        if raw["format"] != FORMAT or raw["version"] not in LISTED:
            raise DamageError(
                f"{file} has format {raw['format']} version {raw['version']}; expected {FORMAT} version 1 to "
                f"{VERSION_WITH_PROMPTS}. Distil the student again, or use the leafkit that wrote it."
            )
        space = Space.from_json(raw["space"], where=str(file))
        return StudentFacts(
            path=folder,
            version=raw["version"],
            space=space,
            head_width=int(raw["head_width"]),
            files={str(name): str(digest) for name, digest in raw[LISTED[raw["version"]]].items()},
            prompts=recorded_prompts(raw, space),
            training=dict(raw["training"]),
            raw=raw,
        )


def check_files(facts: StudentFacts) -> None:
    """Raise `DamageError` unless the files of a student are those that were written, and no loader would read others.

    Weights that only the ONNX file of a `StudentFacts.runtime_only` student holds may be missing.
    """
    folder, complete = facts.path, facts.version > 1
    check_names(folder, facts.files, complete=complete)
    absent = facts.weights if facts.runtime_only else {}
    for name, digest in facts.files.items():
        if name not in absent:
            check_file(folder, name, digest)
    check_settings(folder)


def copy_student(student: Path, folder: Path) -> None:
    """Copy the files of ``student`` to ``folder``: all but its ONNX files and its card."""
    for name in (MARKER, *deciding_files(student)):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(student / name, folder / name)


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
