"""The three modes, and which model encodes queries and documents in each: teacher, standard and asymmetric."""

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
"""teacher: the teacher encodes both sides. standard: the student encodes both. asymmetric: queries only."""


def check_modes(modes: Sequence[str] | None, *, teacher: bool, student: bool) -> tuple[str, ...]:
    """Return the modes to measure in the order of `MODES`; by default all that the given models allow.

    Raises `OptionError` for an unknown mode, or a mode whose teacher or student is missing.
    """
    possible = tuple(mode for mode in MODES if _is_possible(mode, teacher, student))
    for mode in modes or ():
        if mode not in MODES:
            raise OptionError(f"unknown mode {mode!r}; expected one or more of {', '.join(MODES)}.")
        if mode not in possible:
            missing = _missing_models(mode, teacher)
            raise OptionError(f"the mode {mode} needs a {missing}, but none is given. Provide one or remove the mode.")
    return tuple(mode for mode in possible if not modes or mode in modes)


def _is_possible(mode: str, teacher: bool, student: bool) -> bool:
    return (teacher or mode == "standard") and (student or mode == "teacher")


def _missing_models(mode: str, teacher: bool) -> str:
    return "student" if teacher else "teacher" if mode == "teacher" else "teacher and a student"


@dataclass(frozen=True)
class Retriever:
    """One mode with its two encoders; ``student`` is None where the teacher is alone."""

    mode: str
    student: str | None
    query_encoder: Encoder
    document_encoder: Encoder
    student_sha256: str


def make_retrievers(modes: Sequence[str], teacher: Encoder | None, students: Sequence[OpenStudent]) -> list[Retriever]:
    """Return a retriever for the teacher, then one for each student in each of ``modes``.

    ``modes`` come from `check_modes`, so that every mode has its models.
    """
    found = []
    if teacher is not None and "teacher" in modes:
        found.append(Retriever("teacher", None, teacher, teacher, ""))
    for student in students:
        if "standard" in modes:
            found.append(Retriever("standard", student.name, student.encoder, student.encoder, student.sha256))
        if teacher is not None and "asymmetric" in modes:
            found.append(Retriever("asymmetric", student.name, student.encoder, teacher, student.sha256))
    return found


class MemoryCachedEncoder:
    """An encoder that keeps the vectors of each list of texts in memory and does not compute them again."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._cache: dict[bytes, Float32] = {}

    @property
    def space(self) -> Space:
        """The encoder's space."""
        return self._encoder.space

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, shape (rows, dim)."""
        key = blake2b(b"".join(text_key(role, text) for text in texts), digest_size=16).digest()
        if key not in self._cache:
            self._cache[key] = self._encoder.encode(texts, role)
        return self._cache[key]


def with_cached_encoders(retrievers: Sequence[Retriever]) -> list[Retriever]:
    """Return ``retrievers`` with each encoder in a `MemoryCachedEncoder`; a shared encoder gets one shared cache."""
    encoders = {id(encoder): encoder for one in retrievers for encoder in (one.query_encoder, one.document_encoder)}
    cached = {key: MemoryCachedEncoder(encoder) for key, encoder in encoders.items()}
    return [
        replace(one, query_encoder=cached[id(one.query_encoder)], document_encoder=cached[id(one.document_encoder)])
        for one in retrievers
    ]


class CollectionVectors:
    """The vectors of one collection by one encoder; each side is encoded at first use and then kept."""

    def __init__(self, encoder: Encoder, collection: Collection) -> None:
        self._encoder = encoder
        self._collection = collection

    @cached_property
    def queries(self) -> Float32:
        """Vectors of the collection's queries, shape (queries, dim)."""
        return self._encoder.encode(self._collection.queries, "query")

    @cached_property
    def documents(self) -> Float32:
        """Vectors of the collection's documents, shape (documents, dim)."""
        return self._encoder.encode(self._collection.documents, "document")
