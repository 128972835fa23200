"""`build_index`: read documents, open their teacher, and write an index package with the student inside."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from leafkit.index.documents import Sources, read_documents
from leafkit.index.new_package import check_output, plan_package, write_package
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher

log = logging.getLogger("leafkit")


def build_index(
    documents: Sources,
    teacher: str | Path | Teacher,
    out: str | Path,
    *,
    student: str | Path | None = None,
    factory: str | None = None,
    dim: int | None = None,
    precision: str = "float32",
    rescore: str | None = None,
    fold: str | Path | None = None,
    rotate: str | None = None,
    cache: Path | None = None,
    overwrite: bool = False,
    skip_bad: bool = False,
    text_column: str | None = None,
    id_column: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    teacher_options: TeacherOptions | None = None,
) -> Path:
    """Build an index package at ``out`` and return its path.

    documents: files or folders of texts (see `leafkit.read_texts`), or a vectors file that is the teacher as well.
    teacher: what wrote or writes the documents' vectors (see `leafkit.open_teacher`); cached, so each is made once.
    student: a distilled student of that teacher's space, or the name of one that ships; its query encoder is copied
        into the package.
    factory: a FAISS factory string; by default exact up to 50,000 documents (a million if binary), HNSW32 up to a
        million, inverted lists above.
    dim: keep this many leading components, scaled to length 1 again.
    precision: what the index holds: float32, float16, int8 or int4 (ranges fitted to the documents), or binary
        (sign bits).
    rescore: vectors kept on disk to score hits with: none, int8, float16 or float32; by default int8 for binary,
        float16 for other storage that loses more than 2e-4 of cosine, none for the rest.
    fold: a student in place of ``student``; the index keeps of each document only what this student's queries can tell
        apart, its width + 1 numbers (+ 2 for a token table), with the same cosines, and serves no other. With
        ``dim``, the most telling of them (`leafkit.index.fold`).
    rotate: pca, itq or random, before a prefix or sign bits are taken (`leafkit.vectors.rotation`).
    skip_bad: leave out rows that cannot be used, and documents whose id came before.
    threads: of FAISS while building; by default all cores.
    teacher_options: how ``teacher`` is opened where it is not open yet.

    The documents are read before any is encoded, so a bad row or an id that occurs twice costs nothing. While it
    runs it needs room on disk for 4 x dim bytes a document more than the package, and for as much again at the
    teacher's width where ``rotate``, or ``fold`` with ``dim``, is fitted to the documents.

    Raises `TextError` for documents, `OptionError` for options, `SpaceError` for a student of another space and
    `OutputError` where ``out`` holds something or the disk is full. Whatever happens, ``out`` is whole or as before.
    """
    from leafkit.teachers.open import open_teacher

    out = Path(out)
    check_output(out, overwrite=overwrite)
    teacher_options = teacher_options or TeacherOptions()
    read = read_documents(documents, skip_bad=skip_bad, text_column=text_column, id_column=id_column)
    opened = open_teacher(teacher, **dataclasses.asdict(teacher_options))
    plan = plan_package(
        opened.space,
        student,
        fold=fold,
        dim=dim,
        rotate=rotate,
        seed=seed,
        precision=precision,
        factory=factory,
        rescore=rescore,
        threads=threads,
    )
    return write_package(
        read,
        through_cache(opened, cache),
        out,
        plan,
        overwrite=overwrite,
        teacher=_teacher_record(teacher, teacher_options),
    )


def through_cache(teacher: Teacher, cache: Path | None) -> Teacher:
    """Return ``teacher`` behind the cache of teacher vectors, or unchanged if it only looks vectors up.

    A student as the teacher is not cached: its vectors only approximate those of the space it lives in.
    """
    from leafkit.vectors.cached import cached, keeps_its_space

    if not keeps_its_space(teacher):
        log.warning("the documents are encoded by a student: vectors of the teacher itself give better hits")
        return teacher
    return cached(teacher, cache) if "online" in teacher.signals else teacher


def _teacher_record(teacher: str | Path | Teacher, options: TeacherOptions) -> dict[str, Any] | None:
    """Return what opens the same teacher again for an update; None for a teacher that was already open."""
    if not isinstance(teacher, str | Path):
        return None
    given = {option: getattr(options, option) for option in sorted(options.given())}
    if "teacher_space" in given:
        given["teacher_space"] = _absolute(given["teacher_space"])
    return {"argument": _absolute(teacher), "options": given}


def _absolute(name: str | Path) -> str:
    """Make ``name`` absolute if it is a path: an update may be run from another folder."""
    return str(Path(name).resolve() if Path(name).exists() else name)
