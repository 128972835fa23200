"""The query encoders of an open index by effort. Those of an index with several are opened when they are first used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from leafkit.errors import OptionError, nearest
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
    """The encoder of an effort. Encoders of equal ``identity`` that are opened with the same options are the same."""

    encoder: LazyEncoder
    identity: object


class Encoders:
    """The encoders of the index at ``folder`` by effort, from the fastest to the best student, then the teacher.

    ``rungs`` describes the students that are inside the index.
    """

    def __init__(self, folder: Path, encoders: Mapping[str, _Fitted], rungs: Sequence[Rung]) -> None:
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
        return fitted.encoder if fitted and fitted.identity == identity else None

    def check(self, effort: str | None) -> str:
        """Return the name of ``effort``, or that of the default; raise `OptionError` if the index does not have it."""
        if effort is None and self._default is None:
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
    teacher: Encoder | Opener | None,
    threads: int,
    before: Encoders | None = None,
) -> Encoders:
    """Return the encoders of ``package``, or ``encoder`` in place of its students, and ``teacher``.

    An only student and ``encoder`` are opened now, several students when they are first used. These keep their files
    open until then, so that a new index in the folder changes nothing. A ``teacher`` that is a function is called at
    its first use. ``before`` were opened with the same options for an earlier content of the folder; those whose files
    have not changed since are used again. Raises the errors of `leafkit.Searcher.open`.
    """
    encoders: dict[str, _Fitted] = {}

    def add(effort: str, opener: Opener, folder: str | None = None) -> None:
        identity = _identity(package, folder)
        known = before.find(effort, identity) if before else None
        encoders[effort] = _Fitted(known or LazyEncoder(opener), identity)

    rungs = package.manifest.rungs if encoder is None else ()
    if encoder is not None:
        add(FULL, partial(_open_given, package, encoder, threads))
    for rung in rungs:
        files = package.files.take(package.folder / rung.folder)
        add(rung.effort, partial(_open_rung, package, rung, files, threads), rung.folder)
    if len(encoders) == 1:
        next(iter(encoders.values())).encoder.get()
    if teacher is not None:
        if not isinstance(teacher, Encoder) and not callable(teacher):
            raise OptionError(
                f"teacher is {str(teacher)!r:.80}; expected an encoder, or a function that returns one. "
                "Write teacher=lambda: leafkit.open_teacher(...)."
            )
        add(TEACHER, partial(_open_teacher, package, teacher))
    return Encoders(package.folder, encoders, rungs)


def _identity(package: Package, folder: str | None) -> object:
    """Return what decides the vectors of an encoder: space and mapping of ``package``, and its files in ``folder``."""
    manifest = package.manifest
    decide = {
        name: facts["sha256"]
        for name, facts in manifest.files.items()
        if name in (MAPPING_FILE, FINGERPRINT) or (folder is not None and name.startswith(f"{folder}/"))
    }
    return manifest.space.id, decide


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
    from leafkit.search.query_encoder import QueryEncoder

    opened = QueryEncoder.open(encoder, threads=threads)
    return _fitted(package, opened, got_from="the query encoder", folder=encoder)


def _open_teacher(package: Package, teacher: Encoder | Opener) -> Encoder:
    opened = teacher if isinstance(teacher, Encoder) else teacher()
    alone = opened if isinstance(opened, OneAtATime) else OneAtATime(opened)
    return _fitted(package, alone, got_from="the teacher")


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
