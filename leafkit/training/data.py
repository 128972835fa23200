"""The texts of a run on disk: tokenised once, and read back in batches with the teacher's vectors of the same texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from torch import Tensor

from leafkit.errors import DamageError
from leafkit.files.arrays import read_array, save_array
from leafkit.files.json_file import explain_invalid
from leafkit.files.progress import progress
from leafkit.students.student import Layout, Student
from leafkit.training.corpus import Corpus
from leafkit.types import Float32, Int64, Role
from leafkit.vectors.mapping import LinearMap
from leafkit.vectors.store import VectorStore

# Texts tokenised in one call.
CHUNK = 2048
PLACES = "places.npy"  # the file of a run that is written anew when the run resumes


class TokenFile:
    """The token ids of a set of texts: ``tokens.bin`` (int32, end to end) and ``ends.npy`` (int64).

    ``lengths`` are the numbers of tokens of the texts, (texts,).
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Open what `write_tokens` wrote to ``folder``; raise `DamageError` if the two files do not agree."""
        try:
            ends = read_array(folder / "ends.npy")
            self._tokens = _open_tokens(folder / "tokens.bin")
        except (OSError, ValueError, EOFError) as error:
            raise DamageError(
                f"the tokenised texts in {folder} cannot be read: {error}. To start again, delete the folder "
                f"{folder.parent}."
            ) from error
        if len(self._tokens) != (ends[-1] if len(ends) else 0):
            raise DamageError(
                f"the tokenised texts in {folder} are truncated. To start again, delete the folder {folder.parent}."
            )
        self._layout = layout
        self._starts = numpy.concatenate([[0], ends[:-1]]).astype(numpy.int64)
        self.lengths: Int64 = ends - self._starts

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.lengths)

    def features(self, rows: Int64) -> dict[str, Tensor]:
        """Return the texts ``rows`` as one batch, in the form that the student's forward pass takes."""
        return self._layout.features(self._tokens, self._starts[rows], self.lengths[rows])


def write_tokens(
    folder: Path, student: Student, texts: Sequence[str], roles: Sequence[Role], *, max_length: int | None
) -> None:
    """Tokenise ``texts`` into ``folder`` as the student itself does, prompts included.

    Texts are truncated at ``max_length`` tokens; a token table never truncates. Needs constant memory and one number
    per text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lengths: list[int] = []
    with (
        student.truncating_at(max_length),
        open(folder / "tokens.bin", "wb") as file,
        progress("tokenise", total=len(texts), unit="texts") as bar,
    ):
        for ids in _tokenised(student, texts, roles):
            lengths.extend(len(row) for row in ids)
            file.write(numpy.fromiter(itertools.chain.from_iterable(ids), dtype=numpy.int32).tobytes())
            bar.update(len(ids))
    save_array(folder / "ends.npy", numpy.cumsum(lengths, dtype=numpy.int64))


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """All texts of a run: the first rows are for training, the others are held out.

    ``roles`` (0 query, 1 document) and ``places``, the rows in ``store``, are (texts,). ``labels`` (-1 for none) and
    ``domains`` are those of the training texts. ``pairs``, (pairs, 2), are their rows of queries and documents that
    belong together. ``mapping`` leads from the teacher's coordinates to the student's;
    None if the two are the same. ``other_targets``, (training texts, dim), replace the teacher's vectors of the
    training texts if a method trains on other targets.
    """

    tokens: TokenFile
    roles: Int64
    labels: Int64
    domains: Int64
    pairs: Int64
    places: Int64
    store: VectorStore
    mapping: LinearMap | None
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
        vectors = self.store.gather(self.places[rows])
        return vectors if self.mapping is None else self.mapping.apply(vectors, "document")

    def check_training_rows(self, rows: Int64) -> Int64:
        """Return ``rows``; raise `IndexError` if a method asks for rows that are not training texts."""
        if len(rows) and not 0 <= int(numpy.min(rows)) <= int(numpy.max(rows)) < self.train:
            raise IndexError(f"a method asks for texts outside the {self.train} training texts")
        return rows


def write_data(folder: Path, corpus: Corpus, student: Student, *, max_length: int | None) -> None:
    """Write the texts of ``corpus`` into ``folder``, tokenised for ``student`` and truncated at ``max_length`` tokens.

    `save_places` adds where the teacher's vectors of the texts are.
    """
    write_tokens(folder / "tokens", student, corpus.texts, corpus.roles, max_length=max_length)
    save_array(folder / "roles.npy", numpy.concatenate([corpus.train.role_ids(), corpus.valid.role_ids()]))
    save_array(folder / "labels.npy", corpus.train.label_ids())
    save_array(folder / "domains.npy", corpus.train.domain_ids())
    save_array(folder / "pairs.npy", corpus.train.pairs)


def save_places(folder: Path, places: Int64) -> None:
    """Write ``places``, the rows of the texts in the teacher's store, (texts,), into ``folder``."""
    save_array(folder / PLACES, places)


def open_data(folder: Path, layout: Layout, store: VectorStore, mapping: LinearMap | None) -> TrainingData:
    """Open the texts in ``folder`` for a student whose batches have ``layout``; ``store`` has the teacher's vectors."""
    return TrainingData(
        tokens=TokenFile(folder / "tokens", layout),
        roles=_read_rows(folder / "roles.npy"),
        labels=_read_rows(folder / "labels.npy"),
        domains=_read_rows(folder / "domains.npy"),
        pairs=_read_rows(folder / "pairs.npy"),
        places=_read_rows(folder / PLACES),
        store=store,
        mapping=mapping,
    )


def _read_rows(file: Path) -> Int64:
    advice = f"To start again, delete the folder {file.parent.parent}."
    with explain_invalid(file, expected="an array that leafkit wrote", advice=advice):
        return read_array(file)


def _open_tokens(path: Path) -> NDArray[numpy.int32]:
    if path.stat().st_size == 0:
        return numpy.zeros(0, dtype=numpy.int32)
    return numpy.memmap(path, dtype=numpy.int32, mode="r")


def _tokenised(student: Student, texts: Sequence[str], roles: Sequence[Role]) -> Iterator[list[list[int]]]:
    for start in range(0, len(texts), CHUNK):
        pairs = zip(texts[start : start + CHUNK], roles[start : start + CHUNK], strict=True)
        yield _ids(student.preprocess([student.prompt(role) + text for text, role in pairs]))


def _ids(features: dict[str, Any]) -> list[list[int]]:
    """Return the token ids of each text, without padding."""
    ids = features["input_ids"].numpy()
    if "offsets" in features:
        return [row.tolist() for row in numpy.split(ids, features["offsets"].numpy()[1:])]
    mask = features["attention_mask"].numpy().astype(bool)
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]
