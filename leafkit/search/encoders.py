"""The query encoders of an open index by effort. Those of an index with several are opened when they are first used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from leafkit.engines.url import EngineUrl
from leafkit.errors import OptionError, nearest
from leafkit.files.digest import sha256_file
from leafkit.files.open_files import OpenFiles
from leafkit.search.manifest import Rung
from leafkit.search.manifest_fields import FULL, TEACHER
from leafkit.search.package import Package
from leafkit.shipped import resolve_student
from leafkit.space import Space, require_same
from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.fingerprint import FINGERPRINT, Agreement, read_fingerprint
from leafkit.vectors.mapping import FOLD, MAPPING_FILE, MappedEncoder

Opener = Callable[[], Encoder]

log = logging.getLogger("leafkit")


class LazyEncoder:
    """An encoder that is opened at its first use, once for all threads. After an error the next use tries again."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._encoder: Encoder | None = None
        self._lock = threading.Lock()

    def get(self) -> Encoder:
        """Return the encoder; raises the errors of the opener."""
        if self._encoder is None:
            with self._lock:
                if self._encoder is None:
                    self._encoder = self._opener()
        return self._encoder


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The encoder of an effort.

    Encoders of equal ``identity`` that are opened with the same options are interchangeable. One without an identity
    is not used again.
    """

    encoder: LazyEncoder
    identity: object | None


class Encoders:
    """The encoders of the index at ``folder``, or in an engine, by effort, from the fastest to the best student.

    The teacher comes last.

    ``rungs`` describes the students that are inside the index.
    """

    def __init__(self, folder: Path | EngineUrl, encoders: Mapping[str, _Fitted], rungs: Sequence[Rung]) -> None:
        self._folder = folder
        self._encoders = dict(encoders)
        self.rungs = tuple(rungs)
        self.efforts = tuple(self._encoders)
        students = [effort for effort in self.efforts if effort != TEACHER]
        self._default = students[-1] if students else None

    def get(self, effort: str | None = None) -> Encoder:
        """Return the encoder of ``effort``, or the best student's if None, opening it if this is its first use.

        Raises `OptionError` for an effort that the index does not have, and the errors of opening a student.
        """
        return self._encoders[self.check(effort)].encoder.get()

    def find(self, effort: str, identity: object) -> LazyEncoder | None:
        """Return the encoder of ``effort``, open or not, if it has this ``identity``."""
        fitted = self._encoders.get(effort)
        return fitted.encoder if fitted and fitted.identity == identity is not None else None

    def check(self, effort: str | None) -> str:
        """Return the name of ``effort``, or that of the default; raise `OptionError` if the index does not have it."""
        if effort is None and self._default is None:
            if isinstance(self._folder, EngineUrl):
                raise OptionError(
                    f"{self._folder} holds vectors and no student, so it cannot encode texts. Name a student of its "
                    "space with --student STUDENT (in Python: encoder=...)."
                )
            raise OptionError(
                f"the index {self._folder} was built without a student, so it cannot encode texts. "
                "Open it with encoder=STUDENT, or search with vectors."
            )
        name = self._default if effort is None else effort
        if isinstance(name, str) and name in self._encoders:
            return name
        if effort == TEACHER:
            known = f"has {', '.join(self.efforts)}" if self.efforts else "was built without a student"
            raise OptionError(
                f"the effort is 'teacher', but the index {self._folder} was opened without its teacher (it {known}). "
                "Open it with teacher=TEACHER, or start leafkit serve with --teacher."
            )
        hint = nearest(str(effort), self.efforts) if self.efforts else "it was built without a student"
        raise OptionError(f"the index {self._folder} has no effort {effort!r:.80}; {hint}.".replace("?.", "?"))


def open_encoders(
    package: Package,
    encoder: str | Path | Encoder | None,
    teacher: Opener | None,
    threads: int,
    before: Encoders | None = None,
) -> Encoders:
    """Return the encoders of ``package``, or ``encoder`` in place of its students, and ``teacher``.

    An only student and ``encoder`` are opened now, several students when they are first used. These keep their files
    open until then, so that a new index in the folder changes nothing. ``teacher`` comes from `shared_teacher`.
    ``before`` were opened with the same options for an earlier content of the folder; those whose files have not
    changed since are used again. Raises the errors of `leafkit.Searcher.open`.
    """
    encoders: dict[str, _Fitted] = {}

    def add(effort: str, opener: Opener, files: Mapping[str, str] | None) -> None:
        identity = None if files is None else (_coordinates(package), files)
        known = before.find(effort, identity) if before else None
        encoders[effort] = _Fitted(known or LazyEncoder(opener), identity)

    rungs = package.manifest.rungs if encoder is None else ()
    if encoder is not None:
        add(FULL, partial(_open_given, package, encoder, threads), _files_given(encoder))
    for rung in rungs:
        files = package.files.take(package.folder / rung.folder)
        add(rung.effort, partial(_open_rung, package, rung, files, threads), _files_inside(package, rung))
    if len(encoders) == 1:
        next(iter(encoders.values())).encoder.get()
    if teacher is not None:
        # The teacher itself is open once for all contents of the folder. Fitting it to this one costs nothing.
        add(TEACHER, lambda: _fitted(package, teacher(), got_from="the teacher"), None)
    return Encoders(package.folder, encoders, rungs)


def engine_encoders(
    url: EngineUrl, space: Space, encoder: str | Path | Encoder | None, teacher: Opener | None, threads: int
) -> Encoders:
    """Return ``encoder``, opened now, and ``teacher`` as the encoders of an index of ``space`` in an engine.

    Raises `SpaceError` for an encoder of another space.
    """
    encoders: dict[str, _Fitted] = {}
    if encoder is not None:
        opened = encoder if isinstance(encoder, Encoder) else _open_student(encoder, threads)
        require_same(space, opened.space, expected_by=str(url), got_from="the query encoder")
        encoders[FULL] = _Fitted(LazyEncoder(lambda: opened), None)
    if teacher is not None:
        encoders[TEACHER] = _Fitted(LazyEncoder(lambda: _of_space(url, space, teacher())), None)
    return Encoders(url, encoders, ())


def _of_space(url: EngineUrl, space: Space, teacher: Encoder) -> Encoder:
    require_same(space, teacher.space, expected_by=str(url), got_from="the teacher")
    return teacher


def shared_teacher(teacher: Encoder | Opener) -> Opener:
    """Return a function that gives ``teacher`` for one thread at a time; it is opened at the first call.

    Raises `OptionError` for what is neither an encoder nor a function.
    """
    if not isinstance(teacher, Encoder) and not callable(teacher):
        raise OptionError(
            f"teacher is {str(teacher)!r:.80}; expected an encoder, or a function that returns one. "
            "Write teacher=lambda: leafkit.open_teacher(...)."
        )

    def open_alone() -> Encoder:
        opened = teacher if isinstance(teacher, Encoder) else teacher()
        return opened if isinstance(opened, OneAtATime) else OneAtATime(opened)

    return LazyEncoder(open_alone).get


def _coordinates(package: Package) -> object:
    """Return what decides how an encoder is fitted to ``package``: space, mapping and fingerprint."""
    files = package.manifest.files
    return package.manifest.space.id, [files[name]["sha256"] for name in (MAPPING_FILE, FINGERPRINT) if name in files]


def _files_inside(package: Package, rung: Rung) -> dict[str, str]:
    """Return the hash of each file of a student inside ``package``."""
    files = package.manifest.files.items()
    return {name: facts["sha256"] for name, facts in files if name.startswith(f"{rung.folder}/")}


def _files_given(encoder: str | Path | Encoder) -> dict[str, str] | None:
    """Return the hash of the record of the student in the folder ``encoder``, which hashes its other files."""
    from leafkit.search.query_encoder import RECORD

    record = None if isinstance(encoder, Encoder) else resolve_student(encoder) / RECORD
    return {RECORD: sha256_file(record)} if record and record.is_file() else None


def _open_rung(package: Package, rung: Rung, files: OpenFiles, threads: int) -> Encoder:
    """Open a student inside ``package`` from its open ``files``, and close them."""
    from leafkit.search.query_encoder import QueryEncoder

    opened = QueryEncoder.read(package.folder / rung.folder, files, threads=threads)
    fitted = _fitted(package, opened, got_from="the query encoder")
    files.close()
    return fitted


def _open_given(package: Package, encoder: str | Path | Encoder, threads: int) -> Encoder:
    if not isinstance(encoder, str | Path):
        return _fitted(package, encoder, got_from="the query encoder")
    opened = _open_student(encoder, threads)
    return _fitted(package, opened, got_from="the query encoder", folder=encoder)


def _open_student(folder: str | Path, threads: int) -> Encoder:
    from leafkit.search.query_encoder import QueryEncoder

    return QueryEncoder.open(folder, threads=threads)


class OneAtATime:
    """``encoder`` for one thread at a time: the tokenizers of teachers are not made for several."""

    def __init__(self, encoder: Encoder) -> None:
        self.space = encoder.space
        self._encoder = encoder
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, (rows, dim)."""
        with self._lock:
            return self._encoder.encode(texts, role)


def _fitted(package: Package, opened: Encoder, *, got_from: str, folder: str | Path | None = None) -> Encoder:
    """Return ``opened`` as an encoder that writes the coordinates of the index.

    A rotated index maps any encoder of the teacher's space. A folded index accepts only the student it was folded for.

    got_from: what a message calls the encoder.
    folder: its folder, whose fingerprint then tells where the ids of two spaces differ.

    Raises `SpaceError` for an encoder of another space.
    """
    mapping = package.mapping
    if mapping is not None and mapping.kind != FOLD and opened.space.id == mapping.base.id:
        return MappedEncoder(opened, mapping)
    agreement = None if mapping and mapping.kind == FOLD else _agreement(package, folder, opened.space)
    if agreement and agreement.is_same_space:
        log.info("the student %s learned the vectors of the index (%s): same space", folder, agreement)
        return opened if mapping is None else MappedEncoder(opened, mapping)
    expected_by = f"the index {package.folder}"
    if mapping is not None and mapping.kind == FOLD:
        expected_by += " (folded for the student inside it; no other encoder can search it)"
    require_same(
        package.manifest.space,
        opened.space,
        expected_by=expected_by,
        got_from=got_from,
        measured=f"The vectors of their teachers differ: {agreement.shortfall}." if agreement else "",
    )
    return opened


def _agreement(package: Package, folder: str | Path | None, space: Space) -> Agreement | None:
    """Compare what the teachers of the index and of the student in ``folder`` write.

    None if the ids of the spaces are equal already, or one of the two has no fingerprint.
    """
    if folder is None or space.id == package.manifest.space.id or space.rotation is not None:
        return None
    known, own = package.fingerprint(), read_fingerprint(resolve_student(folder), space)
    return None if known is None or own is None else known.agreement(own)
