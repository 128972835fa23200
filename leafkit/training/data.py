"""The texts of a run as its folder holds them: token ids, roles, labels, domains and the teacher's vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy

from leafkit.files.arrays import save_array
from leafkit.students.layout import Layout
from leafkit.students.student import Student
from leafkit.training.corpus import Corpus
from leafkit.training.tokens import TokenFile, write_tokens
from leafkit.types import ROLES, Float32, Int64
from leafkit.vectors.mapped_store import MappedStore


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """All texts of a run: the first rows are for training, the others are held out.

    ``roles`` (0 query, 1 document) and ``places``, the rows in the store of ``vectors``, are (texts,). ``labels`` (-1
    for none) and ``domains`` are those of the training texts. ``other_targets``, (training texts, dim), replace the
    teacher's vectors of the training texts if a student is to learn something else.
    """

    tokens: TokenFile
    roles: Int64
    labels: Int64
    domains: Int64
    places: Int64
    vectors: MappedStore
    other_targets: Float32 | None = None

    @property
    def train(self) -> int:
        """The number of training texts."""
        return len(self.labels)

    @property
    def train_rows(self) -> Int64:
        """The rows to train on."""
        return numpy.arange(self.train)

    @property
    def valid_rows(self) -> Int64:
        """The rows that are held out."""
        return numpy.arange(self.train, len(self.tokens))

    def targets(self, rows: Int64) -> Float32:
        """Return the vectors that the student learns for ``rows``, (rows, dim) float32.

        The rows must be all for training or all held out.
        """
        if self.other_targets is not None and len(rows) and rows[0] < self.train:
            return self.other_targets[rows]
        return self.vectors.gather(self.places[rows])

    def check_training_rows(self, rows: Int64) -> Int64:
        """Return ``rows``; raises `IndexError` if a method asks for rows that are not training texts."""
        if len(rows) and not 0 <= int(numpy.min(rows)) <= int(numpy.max(rows)) < self.train:
            raise IndexError(f"a method asks for texts outside the {self.train} training texts")
        return rows


def write_data(
    folder: Path, corpus: Corpus, student: Student, places: Int64, vectors: MappedStore, *, max_length: int | None
) -> TrainingData:
    """Write the texts of ``corpus``, tokenised for ``student``, into ``folder`` and return them opened.

    ``places`` are the rows of the texts in the store of ``vectors``; `save_places` writes them.
    """
    write_tokens(folder / "tokens", student, corpus.texts, corpus.roles, max_length=max_length)
    roles = numpy.array([ROLES.index(role) for role in corpus.roles], dtype=numpy.int64)
    save_array(folder / "roles.npy", roles)
    save_array(folder / "labels.npy", corpus.train.label_ids())
    save_array(folder / "domains.npy", corpus.train.domain_ids())
    return _opened(folder, student.layout, places, vectors)


def save_places(folder: Path, places: Int64) -> None:
    """Write the rows of the texts in the teacher's store, which every resumed run looks up again."""
    save_array(folder / "places.npy", places)


def open_data(folder: Path, layout: Layout, vectors: MappedStore) -> TrainingData:
    """Open the texts in ``folder`` for a student whose batches have ``layout``."""
    return _opened(folder, layout, numpy.load(folder / "places.npy", allow_pickle=False), vectors)


def _opened(folder: Path, layout: Layout, places: Int64, vectors: MappedStore) -> TrainingData:
    return TrainingData(
        tokens=TokenFile(folder / "tokens", layout),
        roles=numpy.load(folder / "roles.npy", allow_pickle=False),
        labels=numpy.load(folder / "labels.npy", allow_pickle=False),
        domains=numpy.load(folder / "domains.npy", allow_pickle=False),
        places=places,
        vectors=vectors,
    )
