"""`build_index`: read documents, open their teacher, and write an index package with the student inside."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from leafkit.files.options import OutputOptions
from leafkit.index.documents import read_documents
from leafkit.index.embedded import embedded_file, embedded_teacher, open_in_order
from leafkit.index.ladder import Student, Students, plan_ladder
from leafkit.index.new_package import check_output, plan_package, write_package
from leafkit.index.options import BuildOptions
from leafkit.index.recorded_teacher import teacher_record
from leafkit.options import options_of, takes
from leafkit.teachers.agreement import fingerprint_of
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, adopt, open_in_space
from leafkit.texts.options import ReadingOptions
from leafkit.texts.table import Sources
from leafkit.types import Teacher
from leafkit.vectors.fingerprint import Fingerprint

log = logging.getLogger("leafkit")


@takes(BuildOptions, ReadingOptions, TeacherOptions, OutputOptions)
def build_index(
    documents: Sources,
    teacher: str | Path | Teacher | None,
    out: str | Path,
    *,
    student: Students = None,
    **options: Any,
) -> Path:
    """Build an index package at ``out`` and return its path.

    documents: files or folders of texts (see `leafkit.read_texts`), or a vectors file that is the teacher as well.
    teacher: the model that encodes the documents, or a file of their vectors (see `leafkit.open_teacher`). Vectors of
        a model are cached. Another copy of the student's teacher is recognised by its vectors. None: the documents are
        a vectors file, which is the teacher as well.
    student: a distilled student of that teacher's space, or the name of one that ships. Its query encoder is copied
        into the package. A list of students makes a ladder: each search chooses one by its ``effort``. That is
        ``table`` for a token table, ``small`` for the fewest layers, ``full`` for the most, or the name in
        ``NAME=STUDENT`` (see `leafkit.index.ladder.plan_ladder`).

    All documents are read before any is encoded, so a bad row or a repeated id is found early. While building, the
    disk needs 4 x dim bytes per document besides the package, and as much again at the teacher's width if ``rotate``,
    or ``fold`` with ``dim``, is fitted to the documents.

    Raises `TextError` for an invalid document, `OptionError` for an invalid option, `SpaceError` for a student of
    another space and `OutputError` if ``out`` is not free or the disk is full. A failed call leaves ``out`` unchanged.
    """
    out = Path(out)
    storage, reading = options_of(BuildOptions, options), options_of(ReadingOptions, options)
    opening, files = options_of(TeacherOptions, options), options_of(OutputOptions, options)
    check_output(out, overwrite=files.overwrite)
    rungs = plan_ladder(student, fold=storage.fold)
    best = rungs[-1].student if rungs else None
    embedded = embedded_file(documents) if teacher is None else None  # a missing shard is found before any is read
    read = read_documents(documents, reading)
    recorded = _space_of(best)
    if teacher is None:
        teacher, opening = embedded_teacher(embedded, opening, best)
        opened = open_in_order(teacher, opening)
        if recorded is not None:
            opened = adopt(opened, recorded, name=f"the teacher {teacher}", fixed=opening.given())
    else:
        opened = open_in_space(teacher, opening, recorded)
    plan = plan_package(opened.space, rungs, **storage.only(BuildOptions))
    encoder = through_cache(opened, files.cache)
    return write_package(
        read,
        encoder,
        out,
        plan,
        overwrite=files.overwrite,
        teacher=teacher_record(teacher, opening),
        fingerprint=_fingerprint(encoder, recorded),
    )


def _space_of(student: Student | None) -> RecordedSpace | None:
    return None if student is None else RecordedSpace.of_student(Path(student))


def _fingerprint(teacher: Teacher, recorded: RecordedSpace | None) -> Fingerprint | None:
    """Return the fingerprint of the space of ``teacher``: the student's, or else what the teacher writes."""
    known = None if recorded is None or recorded.space.id != teacher.space.id else recorded.fingerprint
    return known or fingerprint_of(teacher)


def through_cache(teacher: Teacher, cache: Path | None) -> Teacher:
    """Return ``teacher`` behind the cache of teacher vectors, or unchanged if it only looks vectors up.

    The vectors of a student are not cached, because they only approximate those of the teacher.
    """
    from leafkit.vectors.cached import cached
    from leafkit.vectors.store import is_exact

    if not is_exact(teacher):
        log.warning("the documents are encoded by a student: vectors of the teacher itself give better hits")
        return teacher
    return cached(teacher, cache) if "online" in teacher.signals else teacher
