"""Add documents to an index and remove others: nothing is encoded twice, nothing trained again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError, OptionError
from leafkit.index.assemble import VectorsOf, check_given, mapped_blocks, teacher_vectors
from leafkit.index.build import Sources, read_documents, through_cache
from leafkit.index.change import UpdateCounts, apply_change
from leafkit.search.documents import Document
from leafkit.search.manifest import read_manifest
from leafkit.search.package import Package, only_writer, open_package
from leafkit.search.rescoring import blocks_of
from leafkit.space import Space, require_same
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher


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
    folder = Path(index)
    read_manifest(folder)
    with only_writer(folder):
        package = open_package(folder, verify=True)
        if add is None:
            return apply_change(package, (), None, remove or (), compact=compact, thread_count=threads)
        documents = read_documents(add, skip_bad=skip_bad, text_column=text_column, id_column=id_column)
        encoder = through_cache(_teacher(package, teacher, teacher_options), cache)
        return apply_change(
            package,
            documents,
            _mapped_as(package, teacher_vectors(encoder)),
            remove or (),
            replace=replace,
            compact=compact,
            thread_count=threads,
        )


def update_vectors(
    index: str | Path,
    *,
    ids: Sequence[str] = (),
    vectors: NDArray[Any] | None = None,
    payload: Sequence[Mapping[str, Any]] | None = None,
    space: Space | None = None,
    remove: Sequence[str] | None = None,
    replace: bool = False,
    compact: bool | None = None,
    threads: int | None = None,
) -> UpdateCounts:
    """`update_index` with the ``vectors`` (rows, space.dim) of the added ``ids`` given; ``space`` is theirs."""
    folder = Path(index)
    read_manifest(folder)
    with only_writer(folder):
        package = open_package(folder, verify=True)
        wanted = package.teacher_space
        given = numpy.empty((0, wanted.dim)) if vectors is None else vectors
        if space is not None:
            require_same(wanted, space, wanted_by=f"the index {folder}", got_from="the vectors")
        check_given(given, ids, payload, dim=wanted.dim)
        added = (Document(name, {} if payload is None else payload[row]) for row, name in enumerate(ids))
        return apply_change(
            package,
            added,
            _mapped_as(package, lambda _: blocks_of(given)),
            remove or (),
            replace=replace,
            compact=compact,
            thread_count=threads,
        )


def read_ids(names: Iterable[str]) -> Iterator[str]:
    """The ids among ``names``, where ``@FILE`` stands for the lines of a file; raises `InputError` if unreadable."""
    for name in names:
        if not name.startswith("@"):
            yield name
            continue
        try:
            with open(name[1:], encoding="utf-8") as file:
                yield from (line.rstrip("\r\n") for line in file if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name[1:]} cannot be read as UTF-8 text, an id a line: {error}") from error


def _teacher(package: Package, teacher: str | Path | Teacher | None, given: TeacherOptions | None) -> Teacher:
    from leafkit.teachers.open import open_teacher

    given = given or TeacherOptions()
    options: Mapping[str, Any] = dataclasses.asdict(given)
    if teacher is None:
        recorded = package.manifest.built.get("teacher")
        if recorded is None:
            raise OptionError(f"{package.folder} does not record which teacher to open; give it with --teacher")
        # What is said now goes before what is recorded, and is refused below where it makes another space.
        teacher, options = recorded["argument"], {**recorded["options"], **{one: options[one] for one in given.given()}}
    opened = open_teacher(teacher, **options)
    wanted = package.teacher_space
    require_same(wanted, opened.space, wanted_by=f"the index {package.folder}", got_from=f"the teacher {teacher}")
    return opened


def _mapped_as(package: Package, vectors_of: VectorsOf) -> VectorsOf:
    """``vectors_of`` in the coordinates of the index."""
    return lambda documents: mapped_blocks(vectors_of(documents), package.mapping)
