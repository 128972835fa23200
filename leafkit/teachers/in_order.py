"""A vectors file as the teacher of its own texts, asked for in their order: nothing but one batch is in memory.

`VectorsFileTeacher` holds all vectors and finds any text at once, as a training needs. An index of the texts of the
file asks for each of them once, in order, so its vectors may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.teachers.vectors_file import missing_texts, sample_of
from leafkit.types import Float32, Role
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.vectors_file import open_vectors_file
from leafkit.vectors.vectors_file_types import PairBatch, SpaceLabel


class InOrderTeacher:
    """The vectors of a file that records its space. Texts out of order are found too, by reading the whole file."""

    signals = frozenset({"embeddings"})

    def __init__(self, path: Path, label: SpaceLabel) -> None:
        """Read the vectors file at ``path``, which records ``label``, when texts are asked for."""
        self.path = path
        self.space = label.space
        self.approximate = label.approximate
        self._rest: Generator[_Row] | None = None
        self._left = 0

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, (rows, dim), float32; raise `VectorError` naming the first missing text.

        Rows of the file that come before the next text and that are not asked for are skipped.
        """
        wanted = [text.strip() for text in texts]
        vectors = self._next(wanted, role)
        return self._find(wanted, role) if vectors is None else vectors

    def holds(self, texts: Sequence[str], role: Role) -> NDArray[numpy.bool_]:
        """Tell for each text whether the file has a vector for it in ``role``, shape (texts,)."""
        found = self._search([text.strip() for text in texts], role)
        return numpy.array([text.strip() in found for text in texts], dtype=bool)

    def sample_texts(self) -> list[tuple[str, Role]]:
        """Return up to 32 texts of the file with their roles; see `VectorsFileTeacher.sample_texts`."""
        return sample_of(self.path)

    def _next(self, texts: Sequence[str], role: Role) -> Float32 | None:
        """Return the vectors of ``texts`` if these follow in the file, or else None."""
        if self._rest is None:
            self._rest, self._left = self._rows(), open_vectors_file(self.path).rows
        vectors = numpy.empty((len(texts), self.space.dim), dtype=numpy.float32)
        done = 0
        while done < len(texts) and self._left:
            own, own_role, batch, row = next(self._rest)
            self._left -= 1
            if own == texts[done] and own_role in (role, None):
                vectors[done] = batch.vectors[row]
                done += 1
        if not self._left:
            self._rest.close()  # frees the memory of the last batch
            self._rest = None
        return self._scaled(vectors) if done == len(texts) else None

    def _rows(self) -> Generator[_Row]:
        for batch in self._batches():
            for row, (text, role) in enumerate(zip(batch.texts, batch.roles, strict=True)):
                yield text, role, batch, row

    def _batches(self) -> Iterator[PairBatch]:
        for batch in open_vectors_file(self.path).batches:
            if batch.vectors.shape[1] != self.space.dim:
                raise DamageError(
                    f"{batch.path} holds vectors of width {batch.vectors.shape[1]}, but records the width "
                    f"{self.space.dim}. Write the file again."
                )
            yield batch

    def _find(self, texts: Sequence[str], role: Role) -> Float32:
        found = self._search(texts, role)
        missing = [text for text in texts if text not in found]
        if missing:
            raise missing_texts(self.path, missing, len(texts), role)
        return self._scaled(numpy.array([found[text] for text in texts], dtype=numpy.float32))

    def _search(self, texts: Sequence[str], role: Role) -> dict[str, NDArray[numpy.floating]]:
        """Return the vectors of those ``texts`` that the file has in ``role``, by reading all of it."""
        wanted, found = set(texts), {}
        for text, own_role, batch, row in self._rows():
            if text in wanted and own_role in (role, None):
                found.setdefault(text, batch.vectors[row].copy())
        return found

    def _scaled(self, vectors: Float32) -> Float32:
        # Rounding to float16 changes a length by up to 5e-4: restore length 1.
        return unit_rows(vectors) if self.space.normalised else vectors


_Row = tuple[str, Role | None, PairBatch, int]
