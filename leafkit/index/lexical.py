"""The words of documents: counted in blocks, spooled to disk as sorted runs, and merged into the files that BM25 reads.

A run holds the postings of some rows, sorted by word and row. Memory stays constant, whatever the size of the corpus.
An update merges the package's own files, as one run, with the runs of the added documents::

    with LexicalWriter(files) as writer:
        writer.copy(package.lexical(), rows, live)
        writer.add(texts)
        writer.finish()
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from numpy.typing import NDArray

from leafkit.search.arrays import blocks_of
from leafkit.search.lexical import TYPES, Lexical, LexicalFiles, word_keys, words_of
from leafkit.types import Int64

# The words counted before a run is written, and the postings merged at a time: some 200 MB of memory each.
RUN_WORDS = MERGED = 1 << 22
_MOST_COUNTED = numpy.iinfo(TYPES["counts"]).max


@dataclass(frozen=True, slots=True)
class _Run:
    """Postings sorted by word: ``starts`` has the first posting of each of ``words`` and the end of the last.

    ``places`` maps a row of the run to a row of the merged files, or to -1 for a row that is left out; None changes
    nothing.
    """

    words: NDArray[Any]
    starts: NDArray[Any]
    postings: NDArray[Any]
    counts: NDArray[Any]
    places: Int64 | None = None

    def __len__(self) -> int:
        """The number of postings that are not left out."""
        if self.places is None:
            return len(self.postings)
        return sum(int((self.places[block] >= 0).sum()) for block in blocks_of(self.postings, size=MERGED))

    def between(self, first: int, last: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return the words, the rows and the counts of the postings of the words that hash to ``first`` .. ``last``."""
        low, high = numpy.searchsorted(self.words, numpy.array([first, last], dtype=self.words.dtype))
        high += int(high < len(self.words) and self.words[high] == last)
        starts = self.starts[low : high + 1]
        words = numpy.repeat(self.words[low:high], numpy.diff(starts))
        rows, counts = self.postings[starts[0] : starts[-1]], self.counts[starts[0] : starts[-1]]
        if self.places is None:
            return words, rows, counts
        rows = self.places[rows]
        kept = rows >= 0
        return words[kept], rows[kept].astype(TYPES["postings"]), counts[kept]


class LexicalWriter:
    """Write the words of documents row by row; `finish` merges them into the files. Takes 4 bytes of memory per row."""

    def __init__(self, files: LexicalFiles) -> None:
        """Start new ``files``, replacing existing ones. Runs wait in a file beside them."""
        self._files, self._spool = files, files.words.with_suffix(".raw")
        self._lengths = array("I")
        self._runs: list[_Run] = []
        self._spooled = open(self._spool, "wb")  # noqa: SIM115  # closed by __exit__
        self._start_run()

    def __enter__(self) -> LexicalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._spooled.close()
        self._runs.clear()
        self._spool.unlink(missing_ok=True)

    def copy(self, lexical: Lexical, rows: Int64, live: NDArray[numpy.bool_]) -> None:
        """Append the ascending ``rows`` of other files; postings of rows that are not ``live`` (rows,) are left out.

        Raises `DamageError` for files that leafkit did not write.
        """
        lexical.check()
        self._write_run()
        places = numpy.full(len(lexical.lengths), -1, dtype=numpy.int64)
        places[rows[live]] = len(self._lengths) + numpy.flatnonzero(live)
        self._lengths.frombytes(lexical.lengths[rows].tobytes())
        self._runs.append(_Run(lexical.words, lexical.starts, lexical.postings, lexical.counts, places))
        self._start_run()

    def add(self, texts: Iterable[str]) -> None:
        """Append a row for each of ``texts``."""
        for text in texts:
            words = words_of(text)
            self._tokens.extend([self._numbers.setdefault(word, len(self._numbers)) for word in words])
            self._lengths.append(len(words))
            if len(self._tokens) >= RUN_WORDS:
                self._write_run()

    def finish(self) -> None:
        """Merge all rows into the files."""
        self._write_run()
        words, starts = [numpy.empty(0, TYPES["words"])], [numpy.zeros(1, TYPES["starts"])]
        # Not written through a memory map: a full disk must raise an OSError, not the signal SIGBUS.
        with open(self._files.postings, "wb") as postings, open(self._files.counts, "wb") as counts:
            total = sum(map(len, self._runs))
            _write_header(postings, "postings", total)
            _write_header(counts, "counts", total)
            for merged in _merged(self._runs):
                postings.write(merged.postings.data)
                counts.write(merged.counts.data)
                words.append(merged.words)
                starts.append(merged.starts[1:] + starts[-1][-1])
        _write_array(self._files.words, "words", numpy.concatenate(words))
        _write_array(self._files.starts, "starts", numpy.concatenate(starts))
        _write_array(self._files.lengths, "lengths", numpy.array(self._lengths, dtype=TYPES["lengths"]))

    def _start_run(self) -> None:
        self._first = len(self._lengths)
        self._numbers: dict[str, int] = {}
        self._tokens = array("I")

    def _write_run(self) -> None:
        """Sort the words counted since the last run, and append them to the spool as a run."""
        if self._tokens:
            lengths = numpy.array(self._lengths[self._first :], dtype=numpy.int64)
            run = _sorted_run(word_keys(self._numbers), numpy.array(self._tokens), lengths, self._first)
            parts = (run.words, run.starts, run.postings, run.counts)
            self._runs.append(_Run(*(self._spool_array(part) for part in parts)))
        self._start_run()

    def _spool_array(self, content: NDArray[Any]) -> NDArray[Any]:
        start = self._spooled.tell()
        self._spooled.write(content.data)
        self._spooled.flush()
        return numpy.memmap(self._spool, dtype=content.dtype, mode="r", offset=start, shape=content.shape)


def _sorted_run(keys: NDArray[Any], tokens: NDArray[Any], lengths: Int64, first: int) -> _Run:
    """Return the run of consecutive rows from ``first`` on.

    ``keys`` are the hashes of the distinct words, ``tokens`` the number of each word of the texts, one after another,
    and ``lengths`` the number of words of each row.
    """
    words, ranks = numpy.unique(keys, return_inverse=True)
    pairs = ranks[tokens] * len(lengths) + numpy.repeat(numpy.arange(len(lengths)), lengths)
    pairs, counts = numpy.unique(pairs, return_counts=True)
    per_word = numpy.bincount(pairs // len(lengths), minlength=len(words))
    return _Run(
        words=words,
        starts=numpy.concatenate([[0], numpy.cumsum(per_word)]),
        postings=(first + pairs % len(lengths)).astype(TYPES["postings"]),
        counts=numpy.minimum(counts, _MOST_COUNTED).astype(TYPES["counts"]),
    )


def _merged(runs: Sequence[_Run]) -> Iterator[_Run]:
    """Yield the postings of all ``runs``, sorted by word, a range of words at a time. Rows ascend from run to run."""
    words = numpy.unique(numpy.concatenate([numpy.empty(0, TYPES["words"]), *(run.words for run in runs)]))
    sizes = numpy.zeros(len(words), dtype=numpy.int64)
    for run in runs:
        sizes[numpy.searchsorted(words, run.words)] += numpy.diff(run.starts)
    parts = numpy.split(words, numpy.flatnonzero(numpy.diff(numpy.cumsum(sizes) // MERGED)) + 1)
    for part in filter(len, parts):
        found = [run.between(part[0], part[-1]) for run in runs]
        of_word, postings, counts = (numpy.concatenate(arrays) for arrays in zip(*found, strict=True))
        order = numpy.argsort(of_word, kind="stable")
        kept, per_word = numpy.unique(of_word, return_counts=True)
        starts = numpy.concatenate([[0], numpy.cumsum(per_word)]).astype(TYPES["starts"])
        yield _Run(kept, starts, postings[order], counts[order])


def _write_array(path: Path, part: str, content: NDArray[Any]) -> None:
    # The caller flushes all files of a package to disk, so this one need not be.
    with open(path, "wb") as file:
        _write_header(file, part, len(content))
        file.write(content.data)


def _write_header(file: BinaryIO, part: str, length: int) -> None:
    """Start ``file`` as the array of ``part`` with ``length`` numbers, which follow."""
    header = {"descr": TYPES[part].str, "fortran_order": False, "shape": (length,)}
    numpy.lib.format.write_array_header_1_0(file, header)
