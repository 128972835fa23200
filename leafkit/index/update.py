"""`update_index`: add documents to an index and remove others, without encoding or training anything again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OptionError
from leafkit.index.build import through_cache
from leafkit.index.documents import Sources, read_documents
from leafkit.index.next_generation import UpdateCounts, apply_update
from leafkit.index.package_files import open_for_update
from leafkit.search.documents import Document
from leafkit.search.package import Package
from leafkit.space import require_same
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Encoder, Teacher


def update_index(
    index: str | Path,
    *,
    add: Sources | None = None,
    remove: Sequence[str] | None = None,
    replace: bool = False,
    compact: bool | None = None,
    teacher: str | Path | Teacher | None = None,
    cache: Path | None = None,
    skip_bad: bool = False,
    text_column: str | None = None,
    id_column: str | None = None,
    threads: int | None = None,
    teacher_options: TeacherOptions | None = None,
) -> UpdateCounts:
    """Remove the ids ``remove`` from the index, then add the documents of ``add``; returns the counts.

    replace: a document whose id is in the index takes that one's place; else it is an error.
    compact: True rewrites the index without its removed documents, whose texts stay on disk until then; None
        does so when more than a fifth of the rows are removed, but for a graph of over 100,000 (it takes long).
    teacher: encodes ``add``, opened with ``teacher_options``; by default as the index was built.
    skip_bad, text_column, id_column: as in `leafkit.build_index`.

    Added vectors go through the codes and lists that the first documents fitted; a warning says when they fit badly.
    Readers go on with the old index, and a stopped update leaves it as it was. Raises `InputError` for ids that are
    there already, `SpaceError` for another teacher, `OutputError` for a full disk or while another update runs.
    """
    with open_for_update(Path(index)) as package:
        documents: Iterable[Document] = ()
        encoder: Encoder | None = None
        if add is not None:
            documents = read_documents(add, skip_bad=skip_bad, text_column=text_column, id_column=id_column)
            encoder = through_cache(_open_teacher(package, teacher, teacher_options), cache)
        return apply_update(
            package, documents, encoder, remove or (), replace=replace, compact=compact, threads=threads
        )


def read_ids(names: Iterable[str]) -> Iterator[str]:
    """Yield the ids in ``names``, replacing ``@FILE`` by the lines of that file.

    Raises `InputError` for a file that cannot be read as UTF-8.
    """
    for name in names:
        if not name.startswith("@"):
            yield name
            continue
        try:
            with open(name[1:], encoding="utf-8") as file:
                yield from (line.rstrip("\r\n") for line in file if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{name[1:]} cannot be read: {error}. Give a UTF-8 text file with one id per line."
            ) from error


def _open_teacher(package: Package, teacher: str | Path | Teacher | None, given: TeacherOptions | None) -> Teacher:
    """Open ``teacher``, or by default the teacher that the index was built with.

    Raises `OptionError` if the index does not record its teacher and `SpaceError` for a teacher of another space.
    """
    from leafkit.teachers.open import open_teacher

    given = given or TeacherOptions()
    options: Mapping[str, Any] = dataclasses.asdict(given)
    if teacher is None:
        recorded = package.manifest.built.get("teacher")
        if recorded is None:
            raise OptionError(
                f"{package.folder} does not record the teacher it was built with. Give the teacher with --teacher."
            )
        # Options given now override recorded ones. They raise SpaceError below if they make another space.
        overrides = {name: options[name] for name in given.given()}
        teacher, options = str(recorded["argument"]), {**recorded["options"], **overrides}
    opened = open_teacher(teacher, **options)
    space = package.teacher_space
    require_same(space, opened.space, wanted_by=f"the index {package.folder}", got_from=f"the teacher {teacher}")
    return opened
