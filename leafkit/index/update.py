"""`update_index`: add documents to an index and remove others, without encoding or training anything again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from leafkit.errors import InputError
from leafkit.files.options import CacheOptions
from leafkit.index.build import through_cache
from leafkit.index.documents import read_documents
from leafkit.index.embedded import embedded_file, open_embedded
from leafkit.index.next_generation import UpdateCounts, apply_update
from leafkit.index.options import UpdateOptions
from leafkit.index.package_files import open_for_update
from leafkit.index.recorded_teacher import open_teacher_of
from leafkit.options import options_of, takes
from leafkit.search.documents import Document
from leafkit.search.package import Package
from leafkit.space import require_same
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, adopt
from leafkit.texts.options import ReadingOptions
from leafkit.texts.table import Sources
from leafkit.types import Encoder, Teacher


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

    With ``lexical`` the words of all documents are stored for hybrid search, or dropped, without touching a vector.

    teacher: encodes the documents of ``add``. By default the file ``add`` is the teacher if it holds vectors, which are
        checked as in the build. Else it is the teacher that the index was built with, opened with the recorded options;
        options given here override the recorded ones. A teacher with code of its own is opened only if this call sets
        ``trust_remote_code``.

    Added vectors are stored with the codes and lists fitted to the first documents; a warning is logged if they fit
    badly. Readers keep using the old index, and an interrupted update leaves it unchanged. Raises `InputError` for ids
    that exist already, `SpaceError` for another teacher, `OutputError` for a full disk or while another update runs.
    """
    change, reading = options_of(UpdateOptions, options), options_of(ReadingOptions, options)
    opening, cache = options_of(TeacherOptions, options), options_of(CacheOptions, options).cache
    with open_for_update(Path(index)) as package:
        documents: Iterable[Document] = ()
        encoder: Encoder | None = None
        if add is not None:
            documents = read_documents(add, reading)
            encoder = through_cache(_open_teacher(package, teacher, opening, add), cache)
        return apply_update(package, documents, encoder, remove or (), **change.only(UpdateOptions))


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


def _open_teacher(
    package: Package, teacher: str | Path | Teacher | None, given: TeacherOptions, add: Sources
) -> Teacher:
    """Open ``teacher``; by default the file ``add`` if it holds vectors, or else the teacher of the build.

    Raises `OptionError` and `InputError` as `recorded_teacher` does, and `SpaceError` for a teacher of another space.
    """
    path = embedded_file(add) if teacher is None else None
    opened = None if path is None else open_embedded(package, path, given)
    if opened is None:
        return open_teacher_of(package, teacher, given)
    space, owner = package.teacher_space, f"the index {package.folder}"
    recorded = RecordedSpace(owner=owner, space=space, fingerprint=package.fingerprint())
    opened = adopt(opened, recorded, name=f"the teacher {path}")
    require_same(space, opened.space, expected_by=owner, got_from=f"the teacher {path}")
    return opened
