"""Add documents to an index and remove others: nothing is encoded twice, nothing trained again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError, OptionError
from leafkit.files.options import CacheOptions
from leafkit.index.assemble import VectorsOf, check_given, mapped_blocks, teacher_vectors
from leafkit.index.build import Sources, read_documents, through_cache
from leafkit.index.change import UpdateCounts, apply_change
from leafkit.index.options import UpdateOptions
from leafkit.options import options_of, takes
from leafkit.search.documents import Document
from leafkit.search.manifest import read_manifest
from leafkit.search.package import Package, only_writer, open_package
from leafkit.search.rescoring import blocks_of
from leafkit.space import Space, require_same
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import ReadingOptions
from leafkit.types import Teacher


@takes(UpdateOptions, ReadingOptions, TeacherOptions, CacheOptions)
def update_index(
    index: str | Path,
    *,
    add: Sources | None = None,
    remove: Sequence[str] | None = None,
    teacher: str | Path | Teacher | None = None,
    **options: Any,
) -> UpdateCounts:
    """Remove the ids ``remove`` from the index, then add the documents of ``add``; return the counts.

    teacher: encodes the documents of ``add``. The default is the teacher that the index was built with, opened with
        the recorded options; options given here override the recorded ones.

    Added vectors are stored with the codes and lists fitted to the first documents; a warning is logged if they fit
    badly. Readers keep using the old index, and an interrupted update leaves it unchanged. Raises `InputError` for ids
    that exist already, `SpaceError` for another teacher, `OutputError` for a full disk or while another update runs.
    """
    folder = Path(index)
    change, reading = options_of(UpdateOptions, options), options_of(ReadingOptions, options)
    opening, files = options_of(TeacherOptions, options), options_of(CacheOptions, options)
    read_manifest(folder)
    with only_writer(folder):
        package = open_package(folder, verify=True)
        if add is None:
            return apply_change(package, (), None, remove or (), compact=change.compact, thread_count=change.threads)
        documents = read_documents(add, reading)
        encoder = through_cache(_teacher(package, teacher, opening), files.cache)
        return apply_change(
            package,
            documents,
            _mapped_as(package, teacher_vectors(encoder)),
            remove or (),
            replace=change.replace,
            compact=change.compact,
            thread_count=change.threads,
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


def _teacher(package: Package, teacher: str | Path | Teacher | None, given: TeacherOptions) -> Teacher:
    options = given
    if teacher is None:
        recorded = package.manifest.built.get("teacher")
        if recorded is None:
            raise OptionError(f"{package.folder} does not record which teacher to open; give it with --teacher")
        # Options given now override the recorded ones; a different space is refused below.
        overrides = {name: getattr(given, name) for name in given.given()}
        teacher, options = recorded["argument"], TeacherOptions(**recorded["options"] | overrides)
    opened = open_with(teacher, options)
    wanted = package.teacher_space
    require_same(wanted, opened.space, wanted_by=f"the index {package.folder}", got_from=f"the teacher {teacher}")
    return opened


def _mapped_as(package: Package, vectors_of: VectorsOf) -> VectorsOf:
    """``vectors_of`` in the coordinates of the index."""
    return lambda documents: mapped_blocks(vectors_of(documents), package.mapping)
