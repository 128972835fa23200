"""The old side: texts with vectors that an index or a vectors file holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError, OptionError, VectorError
from leafkit.evaluation.provenance import files_digest
from leafkit.files.digest import sha256_file
from leafkit.index.documents import text_of
from leafkit.index.embedded import embedded_file, embedded_teacher
from leafkit.search.documents import Document
from leafkit.search.manifest import MANIFEST
from leafkit.search.package import Package, open_package
from leafkit.space import Space
from leafkit.teachers.agreement import fingerprint_of
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, open_in_space
from leafkit.teachers.vectors_file import VectorsFileTeacher
from leafkit.types import Float32, Int64, Role, Teacher
from leafkit.vectors.adopted import AdoptedTeacher, exact_teacher
from leafkit.vectors.fingerprint import Fingerprint
from leafkit.vectors.mapping import FOLD
from leafkit.vectors.vectors_file import open_vectors_file


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Texts and their old vectors, (texts, dim)."""

    texts: list[str]
    vectors: Float32


class OldVectors(ABC):
    """Texts with the vectors of the old model.

    path: the index or the file. space: the old model's space. dim: the width of the stored vectors, which may be a
    prefix. documents: how many documents there are.
    """

    path: Path
    space: Space
    dim: int
    documents: int

    @abstractmethod
    def sample(self, role: Role, count: int, seed: int) -> Pairs:
        """Return at most ``count`` texts of ``role`` with their vectors, drawn with ``seed``, in the stored order."""

    @abstractmethod
    def find(self, texts: Sequence[str], role: Role, ids: Sequence[str] = ()) -> tuple[NDArray[numpy.bool_], Float32]:
        """Tell which of ``texts`` have a vector in ``role``, (texts,), and return the vectors of those, (found, dim).

        ids: the ids of the texts, by which an index finds them.
        """

    @abstractmethod
    def fingerprint(self) -> Fingerprint | None:
        """Return texts with vectors by which the old model is recognised; None if nothing records them."""

    @abstractmethod
    def sha256(self) -> str:
        """Return a hash of what is on disk."""

    def stored(self, vectors: Float32) -> Float32:
        """Return query vectors of the old model's ``space`` (rows, space.dim) as those of the index, (rows, dim)."""
        return vectors[:, : self.dim]

    def find_all(self, texts: Sequence[str], ids: Sequence[str], *, source: str) -> Float32:
        """Return the vectors of the documents ``texts``, (texts, dim); raise `VectorError` if one has none.

        source: where the documents come from, for the message.
        """
        found, vectors = self.find(texts, "document", ids)
        if not found.all():
            first = texts[int(numpy.argmin(found))]
            raise VectorError(
                f"{self.path} holds no vector of {int((~found).sum()):,} of the {len(texts):,} documents of {source}. "
                f"The first is {first[:80]!r}. Give --data with documents that are in there, title and text unchanged."
            )
        return vectors


class OldFile(OldVectors):
    """A vectors file. Its rows with the role query are logged queries, all others are documents."""

    def __init__(self, path: Path, teacher: Teacher) -> None:
        """Read ``path``, which ``teacher`` has opened."""
        self.path, self.space, self.dim = path, teacher.space, teacher.space.dim
        self._teacher = teacher
        roles = [role == "query" for batch in open_vectors_file(path).batches for role in batch.roles]
        queries = numpy.array(roles, dtype=bool)
        self._rows: dict[Role, Int64] = {"query": numpy.flatnonzero(queries), "document": numpy.flatnonzero(~queries)}
        self.documents = len(self._rows["document"])

    def sample(self, role: Role, count: int, seed: int) -> Pairs:
        """See `OldVectors.sample`."""
        rows = _draw(self._rows[role], count, seed)
        texts: list[str] = []
        start = 0
        for batch in open_vectors_file(self.path).batches:
            inside = rows[(rows >= start) & (rows < start + len(batch.texts))]
            texts += [batch.texts[int(row) - start] for row in inside]
            start += len(batch.texts)
        return Pairs(texts=texts, vectors=self._teacher.encode(texts, role))

    def find(self, texts: Sequence[str], role: Role, ids: Sequence[str] = ()) -> tuple[NDArray[numpy.bool_], Float32]:
        """See `OldVectors.find`. A text without a role counts for both roles."""
        file = exact_teacher(self._teacher)
        if not isinstance(file, VectorsFileTeacher):
            raise TypeError(f"{self.path} was opened as {type(file).__name__}")
        found = file.holds(texts, role)
        return found, self._teacher.encode([text for text, known in zip(texts, found, strict=True) if known], role)

    def fingerprint(self) -> Fingerprint | None:
        """See `OldVectors.fingerprint`. The vectors of a file that a student wrote prove nothing."""
        known = self._teacher.fingerprint if isinstance(self._teacher, AdoptedTeacher) else None
        return known or fingerprint_of(exact_teacher(self._teacher))

    def sha256(self) -> str:
        """See `OldVectors.sha256`."""
        return files_digest((part.name, part) for part in open_vectors_file(self.path).parts)


class OldIndex(OldVectors):
    """An index package: the vectors are the most exact that it holds, in its own coordinates."""

    def __init__(self, package: Package) -> None:
        """Read ``package``; raise `OptionError` if it is folded, because only its own student can search it."""
        if package.mapping is not None and package.mapping.kind == FOLD:
            raise OptionError(
                f"the index {package.folder} is folded for the student inside it, so no other encoder can search it. "
                "Give a vectors file of the old vectors, or an index that was built without --fold."
            )
        self.path, self.space, self.dim = package.folder, package.teacher_space, package.manifest.dim
        self._package, self._fingerprint = package, package.fingerprint()
        self._search = package.vector_search()
        self._documents = package.documents()
        self._rows = self._search.live_rows()
        self.documents = len(self._rows)

    def sample(self, role: Role, count: int, seed: int) -> Pairs:
        """See `OldVectors.sample`. An index holds no queries."""
        rows = _draw(self._rows if role == "document" else self._rows[:0], count, seed)
        texts = [self._text(self._documents[row]) for row in rows.tolist()]
        return Pairs(texts=texts, vectors=self._vectors(rows))

    def find(self, texts: Sequence[str], role: Role, ids: Sequence[str] = ()) -> tuple[NDArray[numpy.bool_], Float32]:
        """See `OldVectors.find`. A document is found by its id, and only with the same text."""
        if role == "query":
            return numpy.zeros(len(texts), dtype=bool), self._vectors(self._rows[:0])
        rows = self._documents.rows_of(ids)
        live = numpy.isin(rows, self._rows)
        found = numpy.array(
            [
                bool(known) and self._text(self._documents[row]) == text
                for row, known, text in zip(rows.tolist(), live, texts, strict=True)
            ]
        )
        return found, self._vectors(rows[found])

    def stored(self, vectors: Float32) -> Float32:
        """See `OldVectors.stored`. A rotated index rotates the vectors as well."""
        mapping = self._package.mapping
        return super().stored(vectors if mapping is None else mapping.apply(vectors, "query"))

    def fingerprint(self) -> Fingerprint | None:
        """See `OldVectors.fingerprint`."""
        return self._fingerprint

    def sha256(self) -> str:
        """See `OldVectors.sha256`. The manifest holds the hash of every other file."""
        return sha256_file(self.path / MANIFEST)

    @property
    def is_exact(self) -> bool:
        """Whether the vectors have the coordinates and the width of the old model's space."""
        return self._package.mapping is None and self.dim == self.space.dim

    def _vectors(self, rows: Int64) -> Float32:
        return self._search.vectors(rows) if len(rows) else numpy.empty((0, self.dim), dtype=numpy.float32)

    def _text(self, document: Document) -> str:
        text = text_of(document) if isinstance(document.payload.get("text"), str) else ""
        if not text:
            raise InputError(
                f"the index {self.path} holds no text of the document {document.id!r}, and the new model cannot read "
                "vectors. Give a vectors file with the columns text and vector (leafkit embed writes one)."
            )
        return text


def open_old(path: Path, student: str | None) -> OldVectors:
    """Open an index or a vectors file; a file that records no space is declared to be of the space of ``student``.

    Raises `InputError` for anything else, `DamageError` for an index that was changed and `SpaceError` if ``student``
    does not write the vectors of the file.
    """
    if (path / MANIFEST).is_file():
        package = open_package(path, verify=True)
        with package.files:
            return OldIndex(package)
    if embedded_file(path) is None:
        raise InputError(
            f"{path} is neither an index nor a vectors file; expected a folder that leafkit index wrote, a .parquet "
            "file with the columns text and vector, or a .npy file with a .jsonl file of the same name."
        )
    teacher, options = embedded_teacher(path, TeacherOptions(), student)
    recorded = None if student is None else RecordedSpace.of_student(student)
    return OldFile(path, open_in_space(teacher, options, recorded))


def _draw(rows: Int64, count: int, seed: int) -> Int64:
    if len(rows) <= count:
        return rows
    return numpy.sort(numpy.random.default_rng(seed).choice(rows, count, replace=False))
