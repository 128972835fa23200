"""Texts as token ids on disk: tokenised once, then read in batches through a memory map."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.arrays import save_array
from leafkit.files.progress import progress
from leafkit.students.layout import Layout
from leafkit.students.student import Student
from leafkit.types import Int64, Role

if TYPE_CHECKING:
    from torch import Tensor

# Texts tokenised in one call.
CHUNK = 2048


class TokenFile:
    """The token ids of a set of texts: ``tokens.bin`` (int32, end to end) and ``ends.npy`` (int64).

    ``lengths`` are the tokens of each text, (texts,).
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Open what `write_tokens` wrote to ``folder``; raises `DamageError` if the two files do not agree."""
        try:
            ends = numpy.load(folder / "ends.npy", allow_pickle=False)
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

    Texts are truncated at ``max_length`` tokens; a token table never truncates. Memory stays constant, apart from one
    number per text.
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


def _open_tokens(path: Path) -> NDArray[numpy.int32]:
    if path.stat().st_size == 0:
        return numpy.zeros(0, dtype=numpy.int32)
    return numpy.memmap(path, dtype=numpy.int32, mode="r")


def _tokenised(student: Student, texts: Sequence[str], roles: Sequence[Role]) -> Iterator[list[list[int]]]:
    for start in range(0, len(texts), CHUNK):
        vectors_file = zip(texts[start : start + CHUNK], roles[start : start + CHUNK], strict=True)
        yield _ids(student.preprocess([student.prompt(role) + text for text, role in vectors_file]))


def _ids(features: dict[str, Any]) -> list[list[int]]:
    """Return the token ids of each text, without padding."""
    ids = features["input_ids"].numpy()
    if "offsets" in features:
        return [row.tolist() for row in numpy.split(ids, features["offsets"].numpy()[1:])]
    mask = features["attention_mask"].numpy().astype(bool)
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]
