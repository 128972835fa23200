"""BM25 over the words of the documents: find the documents that share words with a query, and score them.

The formula is Lucene's with k1 1.5 and b 0.75, the default of bm25s (https://arxiv.org/abs/2407.03618, table 1)::

    score = sum over words of the query: idf * tf / (tf + k1 * (1 - b + b * length / mean length))
    idf = ln(1 + (N - n + 0.5) / (n + 0.5))

A document has ``tf`` times the word and ``length`` words, ``n`` of the ``N`` documents have the word. Words are runs of
two or more letters, digits or underscores in lower case. Lucene's 33 English stop words are dropped, and words are not
stemmed. Counts are stored, not scores: N, n and the mean length are those of the documents that are not removed, so an
updated index scores like one built anew. `leafkit.index.lexical` writes the files.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.digest import text_key
from leafkit.files.open_files import OpenFiles
from leafkit.search.arrays import blocks_of, read_array, select_bits
from leafkit.search.ranking import Ranking, best
from leafkit.types import Float32, Int64

K1, B = 1.5, 0.75
STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with".split()
)
# The type of the array in each file: hashes of words, first posting of each word, row and count of each posting, and
# number of words in each row.
TYPES = {
    "words": numpy.dtype(numpy.uint64),
    "starts": numpy.dtype(numpy.int64),
    "postings": numpy.dtype(numpy.uint32),
    "counts": numpy.dtype(numpy.uint16),
    "lengths": numpy.dtype(numpy.uint32),
}

_WORD = re.compile(r"\b\w\w+\b")
_BLOCK = 1 << 20  # postings read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalFiles:
    """The paths of the five files that hold the words of documents.

    ``words`` has the sorted hashes of all words, and ``starts`` the first posting of each word and the end of the last.
    ``postings`` has the rows that hold each word, ascending, and ``counts`` how often they hold it. ``lengths`` has the
    number of words of each row.
    """

    words: Path
    starts: Path
    postings: Path
    counts: Path
    lengths: Path


class Lexical:
    """The words of documents on disk: score documents by BM25. Any number of threads may search."""

    def __init__(
        self,
        files: LexicalFiles,
        opened: OpenFiles,
        *,
        rows: int,
        live: NDArray[Any] | None = None,
        memory_map: bool = True,
    ) -> None:
        """Open ``files`` of ``rows`` documents among ``opened``; ``live`` has one bit for each row.

        Raises `DamageError` if the files do not belong together.
        """
        arrays = {part: read_array(getattr(files, part), opened, memory_map=memory_map) for part in TYPES}
        self.words, self.starts, self.postings = arrays["words"], arrays["starts"], arrays["postings"]
        self.counts, self.lengths = arrays["counts"], arrays["lengths"]
        self._path, self._live = files.postings, live
        if (
            any(array.dtype != TYPES[part] or array.ndim != 1 for part, array in arrays.items())
            or len(self.starts) != len(self.words) + 1
            or len(self.counts) != len(self.postings)
            or len(self.lengths) != rows
        ):
            raise DamageError(
                f"{files.postings} does not match {files.words.name}, {files.starts.name}, {files.counts.name} and "
                f"{files.lengths.name}, or {rows} documents. Build the index again."
            )

    def check(self) -> None:
        """Read all files, and raise `DamageError` unless every word has postings of its own in rows that exist."""
        if (
            (self.words[1:] <= self.words[:-1]).any()
            or (self.starts[1:] < self.starts[:-1]).any()
            or (self.starts[0], self.starts[-1]) != (0, len(self.postings))
        ):
            raise DamageError(f"the words of {self._path} do not ascend. Build the index again.")
        for block in blocks_of(self.postings, size=_BLOCK):
            self._check_rows(block)

    def search(self, text: str, k: int, allow: Int64 | None = None) -> Ranking:
        """Return the ``k`` best rows that share a word with ``text``; fewer if fewer do.

        ``allow`` lists the only rows to choose from. Raises `DamageError` for postings that leafkit did not write.
        """
        scores = self._scores(text)
        if allow is not None:
            allowed = numpy.zeros(len(scores), dtype=bool)
            allowed[allow] = True
            scores[~allowed] = 0
        rows = numpy.flatnonzero(scores)
        return best(rows, scores[rows], k)

    def _scores(self, text: str) -> Float32:
        """Return the score of every row: 0 for removed rows and for those that share no word with ``text``."""
        scores = numpy.zeros(len(self.lengths), dtype=numpy.float32)
        words = Counter(words_of(text))
        places = self._places(words)
        starts, ends = self.starts[places[places >= 0]], self.starts[places[places >= 0] + 1]
        # Words have postings of their own. A stranger's file could list all postings for every word of a long query.
        outside = (starts < 0) | (starts > ends) | (ends > len(self.postings))
        if outside.any() or int((ends - starts).sum()) > len(self.postings):
            raise DamageError(f"the postings of {self._path} overlap or do not exist. Build the index again.")
        repeats = numpy.array([*words.values()])[places >= 0]
        for start, end, repeated in zip(starts.tolist(), ends.tolist(), repeats.tolist(), strict=True):
            self._add_word(scores, start, end, repeated)
        return scores

    def _places(self, words: Iterable[str]) -> Int64:
        """Return the position of each word in `words`, or -1 for a word that no document has."""
        keys = word_keys(words)
        if not len(self.words):
            return numpy.full(len(keys), -1)
        places = numpy.minimum(numpy.searchsorted(self.words, keys), len(self.words) - 1)
        return numpy.where(self.words[places] == keys, places, -1)

    def _add_word(self, scores: Float32, start: int, end: int, repeated: int) -> None:
        """Add to ``scores`` what a word adds that is in the query ``repeated`` times, with postings start to end."""
        holding = end - start if self._live is None else sum(len(rows) for rows, _ in self._live_postings(start, end))
        idf = math.log(1 + (self._documents - holding + 0.5) / (holding + 0.5))
        for rows, counts in self._live_postings(start, end):
            norms = K1 * (1 - B + B * (self.lengths[rows] / self._mean_length))
            scores[rows] += repeated * idf * counts / (counts + norms)

    def _live_postings(self, start: int, end: int) -> Iterator[tuple[Int64, NDArray[Any]]]:
        """Yield the rows and counts of the postings ``start`` to ``end`` without removed rows, in blocks."""
        for first in range(start, end, _BLOCK):
            chosen = slice(first, min(first + _BLOCK, end))
            rows, counts = self.postings[chosen].astype(numpy.int64), self.counts[chosen]
            self._check_rows(rows)
            live = slice(None) if self._live is None else select_bits(self._live, rows)
            yield rows[live], counts[live]

    def _check_rows(self, rows: NDArray[Any]) -> None:
        if rows.max() >= len(self.lengths):
            raise DamageError(f"{self._path} names a document that does not exist. Build the index again.")

    @cached_property
    def _documents(self) -> int:
        return len(self.lengths) if self._live is None else int(numpy.bitwise_count(self._live).sum())

    @cached_property
    def _mean_length(self) -> float:
        lengths = self.lengths
        if self._live is not None:
            lengths = lengths[select_bits(self._live, numpy.arange(len(lengths)))]
        return max(1, int(lengths.sum(dtype=numpy.int64))) / max(1, len(lengths))


def words_of(text: str) -> list[str]:
    """Return the words of ``text`` in their order, in lower case and without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def word_keys(words: Iterable[str]) -> NDArray[numpy.uint64]:
    """Return the 8-byte hashes under which ``words`` are found; ten million words share one with probability 3e-6."""
    return numpy.frombuffer(b"".join(text_key("word", word)[:8] for word in words), dtype=TYPES["words"])
