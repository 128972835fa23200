"""Who encodes what: the teacher, the student, or the student's queries against the teacher's documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b

from leafkit.errors import OptionError
from leafkit.evaluation.collection import Collection
from leafkit.evaluation.students import OpenStudent
from leafkit.files.digest import text_key
from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role

MODES = ("teacher", "standard", "asymmetric")
"""teacher: both sides by the teacher. standard: both by the student. asymmetric: only queries by the student."""


def check_modes(modes: Sequence[str] | None, *, teacher: bool, student: bool) -> tuple[str, ...]:
    """The modes to measure, in the order of `MODES`: all that are possible where none are named.

    Raises `OptionError` for an unknown mode, or one that lacks its teacher or student.
    """
    possible = tuple(mode for mode in MODES if _has_sides(mode, teacher, student))
    for mode in modes or ():
        if mode not in MODES:
            raise OptionError(f"unknown mode {mode!r}; wanted some of {', '.join(MODES)}")
        if mode not in possible:
            raise OptionError(f"the mode {mode} needs a {_lacking(mode, teacher)}; give one, or leave the mode out")
    return tuple(mode for mode in possible if not modes or mode in modes)


def _has_sides(mode: str, teacher: bool, student: bool) -> bool:
    return (teacher or mode == "standard") and (student or mode == "teacher")


def _lacking(mode: str, teacher: bool) -> str:
    return "student" if teacher else "teacher" if mode == "teacher" else "teacher and a student"


@dataclass(frozen=True)
class Retriever:
    """What one row is about: a mode, its two encoders, and the student in it (None where the teacher is alone)."""

    mode: str
    student: str | None
    query_encoder: Encoder
    document_encoder: Encoder
    student_sha256: str


def make_retrievers(modes: Sequence[str], teacher: Encoder | None, students: Sequence[OpenStudent]) -> list[Retriever]:
    """The teacher first, then each student in its ``modes``, which must have the encoders they need."""
    found = []
    if teacher is not None and "teacher" in modes:
        found.append(Retriever("teacher", None, teacher, teacher, ""))
    for student in students:
        if "standard" in modes:
            found.append(Retriever("standard", student.name, student.encoder, student.encoder, student.sha256))
        if teacher is not None and "asymmetric" in modes:
            found.append(Retriever("asymmetric", student.name, student.encoder, teacher, student.sha256))
    return found


class CachedEncoder:
    """``encoder``, which gives the vectors of a list of texts it has seen before without computing them again."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[bytes, Float32] = {}

    @property
    def space(self) -> Space:
        """The encoder's space."""
        return self._encoder.space

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Vectors of ``texts``, shape (rows, dim)."""
        key = blake2b(b"".join(text_key(role, text) for text in texts), digest_size=16).digest()
        if key not in self._known:
            self._known[key] = self._encoder.encode(texts, role)
        return self._known[key]


def with_cached_encoders(retrievers: Sequence[Retriever]) -> list[Retriever]:
    """``retrievers`` whose encoders compute each list of texts once, for as long as the result is kept."""
    encoders = {id(encoder): encoder for one in retrievers for encoder in (one.query_encoder, one.document_encoder)}
    kept = {key: CachedEncoder(encoder) for key, encoder in encoders.items()}
    return [
        replace(one, query_encoder=kept[id(one.query_encoder)], document_encoder=kept[id(one.document_encoder)])
        for one in retrievers
    ]


class CollectionVectors:
    """The vectors that one encoder gives one collection, each side encoded when first asked for and then kept."""

    def __init__(self, encoder: Encoder, collection: Collection) -> None:
        self._encoder = encoder
        self._collection = collection

    @cached_property
    def queries(self) -> Float32:
        """Vectors of the queries that count, shape (queries, dim)."""
        return self._encoder.encode(self._collection.queries, "query")

    @cached_property
    def documents(self) -> Float32:
        """Vectors of all documents, shape (documents, dim)."""
        return self._encoder.encode(self._collection.documents, "document")
