"""Texts as token ids on disk: tokenised once, read back in batches through a memory map."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.arrays import save_array
from leafkit.files.progress import progress
from leafkit.types import Int64, Role

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

CHUNK = 2048


@dataclass(frozen=True)
class Layout:
    """How a student wants a batch of token ids: padded to a rectangle, or end to end for a token table."""

    padded: bool
    pad_id: int = 0
    left: bool = False
    token_types: bool = False

    @classmethod
    def of(cls, model: SentenceTransformer) -> Layout:
        """The layout that the model's own preprocessing would give."""
        first: Any = model[0]
        if type(first).__name__ == "StaticEmbedding":
            return cls(padded=False)
        tokenizer = first.tokenizer
        return cls(
            padded=True,
            pad_id=tokenizer.pad_token_id or 0,
            left=tokenizer.padding_side == "left",
            token_types="token_type_ids" in first.preprocess(["a"]),
        )

    def features(self, tokens: NDArray[numpy.int32], starts: Int64, lengths: Int64) -> dict[str, Tensor]:
        """The texts at ``starts`` of ``lengths`` in the flat array ``tokens``, as the student's forward takes them."""
        import torch

        width = int(lengths.max(initial=1))
        columns = numpy.arange(width)
        if self.left:
            columns = columns - (width - lengths[:, None])
            mask = columns >= 0
        else:
            mask = columns < lengths[:, None]
        flat = tokens[(starts[:, None] + columns)[mask]].astype(numpy.int64)
        if not self.padded:
            offsets = numpy.concatenate([[0], numpy.cumsum(lengths)[:-1]]).astype(numpy.int64)
            return {"input_ids": torch.from_numpy(flat), "offsets": torch.from_numpy(offsets)}
        ids = numpy.full(mask.shape, self.pad_id, dtype=numpy.int64)
        ids[mask] = flat
        features = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(numpy.int64))}
        if self.token_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return features


class TokenFile:
    """The token ids of a set of texts: ``tokens.bin`` (int32, end to end) and ``ends.npy`` (int64)."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        """Open what `write_tokens` left in ``folder``; raises `DamageError` if the two files do not agree."""
        try:
            ends = numpy.load(folder / "ends.npy", allow_pickle=False)
            self._tokens = _open_tokens(folder / "tokens.bin")
        except (OSError, ValueError, EOFError) as error:
            raise DamageError(f"the tokenised texts in {folder} cannot be read: {error}; delete the folder") from error
        if len(self._tokens) != (ends[-1] if len(ends) else 0):
            raise DamageError(f"the tokenised texts in {folder} are truncated; delete the folder {folder.parent}")
        self._layout = layout
        self._starts = numpy.concatenate([[0], ends[:-1]]).astype(numpy.int64)
        self.lengths: Int64 = ends - self._starts

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.lengths)

    def features(self, rows: Int64) -> dict[str, Tensor]:
        """The texts of ``rows`` as one batch."""
        return self._layout.features(self._tokens, self._starts[rows], self.lengths[rows])


def write_tokens(
    folder: Path, model: SentenceTransformer, texts: Sequence[str], roles: Sequence[Role], *, max_length: int | None
) -> None:
    """Tokenise ``texts`` as the model itself would, prompts included, cut to ``max_length``, into ``folder``.

    Constant memory apart from one number per text. A token table is never cut: it has no length.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lengths: list[int] = []
    with (
        _cut_at(model, max_length),
        open(folder / "tokens.bin", "wb") as file,
        progress("tokenise", total=len(texts), unit="texts") as bar,
    ):
        for ids in _tokenised(model, texts, roles):
            lengths.extend(len(row) for row in ids)
            file.write(numpy.fromiter(itertools.chain.from_iterable(ids), dtype=numpy.int32).tobytes())
            bar.update(len(ids))
    save_array(folder / "ends.npy", numpy.cumsum(lengths, dtype=numpy.int64))


def _open_tokens(path: Path) -> NDArray[numpy.int32]:
    if path.stat().st_size == 0:
        return numpy.zeros(0, dtype=numpy.int32)
    return numpy.memmap(path, dtype=numpy.int32, mode="r")


def _tokenised(model: SentenceTransformer, texts: Sequence[str], roles: Sequence[Role]) -> Iterator[list[list[int]]]:
    first: Any = model[0]
    for start in range(0, len(texts), CHUNK):
        chunk, kinds = texts[start : start + CHUNK], roles[start : start + CHUNK]
        prompted = [(model.prompts.get(role) or "") + text for text, role in zip(chunk, kinds, strict=True)]
        yield _ids(first.preprocess(prompted))


def _ids(features: dict[str, Any]) -> list[list[int]]:
    """Each text's own token ids, padding taken off."""
    ids = features["input_ids"].numpy()
    if "offsets" in features:
        return [row.tolist() for row in numpy.split(ids, features["offsets"].numpy()[1:])]
    mask = features["attention_mask"].numpy().astype(bool)
    return [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]


class _cut_at:  # noqa: N801  # reads as the verb it is in a with statement
    """The model with a shorter maximum length inside the block."""

    def __init__(self, model: SentenceTransformer, length: int | None) -> None:
        self._model, self._length = model, length

    def __enter__(self) -> None:
        self._before = self._model.max_seq_length
        if self._length is not None and type(self._model[0]).__name__ == "Transformer":
            self._model.max_seq_length = min(self._before or self._length, self._length)

    def __exit__(self, *_: object) -> None:
        if type(self._model[0]).__name__ == "Transformer":
            self._model.max_seq_length = self._before
