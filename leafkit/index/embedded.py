"""Documents in a file that holds their vectors as well: the file is the teacher, so no model is named or opened."""

from __future__ import annotations

import dataclasses
import logging
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError, SpaceError, VectorError
from leafkit.search.manifest import ENCODER
from leafkit.search.package import Package
from leafkit.teachers.in_order import InOrderTeacher
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.source import split_prefix
from leafkit.texts.table import Sources
from leafkit.types import Teacher
from leafkit.vectors.shards import check_shards, is_shards
from leafkit.vectors.vectors_file import is_vectors_file, open_vectors_file

_NAMED = "name:"  # starts the weights of a space that the user named
_NAMING = {"teacher_name", "teacher_space"}

log = logging.getLogger("leafkit")


def embedded_file(documents: Sources) -> Path | None:
    """Return the vectors file that ``documents`` consist of; None for other sources, and for several of them.

    Raises `InputError`, `SpaceError` or `DamageError` for a folder of shards that is not complete and whole.
    """
    names = [documents] if isinstance(documents, str | PathLike) else list(documents)
    if len(names) != 1:
        return None
    prefix, name = split_prefix(str(names[0]))
    path = Path(name)
    if prefix not in ("", "document") or not path.exists() or not is_vectors_file(path):
        return None
    if is_shards(path):
        check_shards(path)
    try:
        open_vectors_file(path)
    except VectorError:  # a table of texts without vectors
        return None
    return path


def embedded_teacher(
    path: Path | None, given: TeacherOptions, student: str | PathLike[str] | None
) -> tuple[Path, TeacherOptions]:
    """Return the vectors file ``path`` of the documents and the options that open it as the teacher of a new index.

    A file that records no space is declared to belong to the space of ``student``, and checked, if nothing else is
    ``given``. Raises `OptionError` for documents without vectors, whose ``path`` is None.
    """
    if path is None:
        raise OptionError(
            "no teacher is given, and the documents do not come with vectors. Give the teacher with --teacher, or one "
            "vectors file as the documents."
        )
    if student is not None and not given.given() & _NAMING and open_vectors_file(path).label is None:
        given = dataclasses.replace(given, teacher_space=str(student))
    log.info("taking the vectors of the documents from %s", path)
    return path, given


def open_in_order(path: Path, given: TeacherOptions) -> Teacher:
    """Open the vectors file ``path`` as the teacher of its own texts.

    The vectors of a file that records its space stay on disk. Those of another file, and of one that is ``given`` a
    space, are read into memory.
    """
    label = open_vectors_file(path).label
    return open_with(path, given) if label is None or given.given() else InOrderTeacher(path, label)


def open_embedded(package: Package, path: Path, given: TeacherOptions) -> Teacher | None:
    """Open the vectors file ``path`` as the teacher of documents to add to ``package``.

    The vectors of a file that records no space are checked as at the build: by the student inside the index, or by the
    one that the build was given. The name that the build was given holds for them without a check. Returns None if the
    index has none of these and was built with a model, which then encodes the texts of the file. Raises `SpaceError` if
    the check fails, and `OptionError` if there is neither a check nor a model.
    """
    options = given
    if open_vectors_file(path).label is None and not given.given() & _NAMING:
        known = _known(package)
        if not known and _was_built_with_a_model(package):
            log.warning("%s does not say which model made its vectors: its texts are encoded again", path)
            return None
        if not known:
            raise OptionError(
                f"{path} does not say which model made its vectors, and the index {package.folder} has no student to "
                f"check them with. Add --teacher {path} and the model's name, as in the build (--teacher-name)."
            )
        options = dataclasses.replace(given, **known)
    try:
        teacher = open_in_order(path, options)
    except SpaceError as error:
        raise SpaceError(f"{error} To encode the texts of {path} anew, name their model with --teacher.") from error
    log.info("taking the vectors of the added documents from %s", path)
    return teacher


def _known(package: Package) -> dict[str, Any]:
    """Return the options that say which space the vectors of the index lie in; empty if the index does not know."""
    space = package.teacher_space
    # The student of a rotated index writes rotated vectors. The build's own student tells for those.
    if package.manifest.encoder and package.manifest.space.rotation is None:
        return {"teacher_space": str(package.folder / ENCODER)}
    if student := _recorded(package, "options").get("teacher_space"):
        return {"teacher_space": str(student)}
    if not space.weights.startswith(_NAMED):
        return {}
    return {
        "teacher_name": space.teacher,
        "query_prompt": space.query_prompt,
        "document_prompt": space.document_prompt,
        "max_length": space.max_length,
        "normalised": space.normalised,
        "pooling": None if space.pooling == "unknown" else space.pooling,
    }


def _was_built_with_a_model(package: Package) -> bool:
    argument = _recorded(package).get("argument")
    return isinstance(argument, str) and not is_vectors_file(Path(argument))


def _recorded(package: Package, *keys: str) -> dict[str, Any]:
    """Return the record of the teacher in the manifest, or a part of it; empty if there is none."""
    found: Any = package.manifest.built.get("teacher")
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
