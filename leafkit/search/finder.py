"""The rows of a corpus that are nearest to a query, each with its true cosine, whatever the index type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.search import rescoring as keeping
from leafkit.search.faiss_index import Bits, Depth, FaissIndex, threads
from leafkit.search.plan import Plan, check_rescore, plan_index
from leafkit.types import Float32, Int64
from leafkit.vectors.cosine import check_dim, cosines, unit_prefix

TRAINING_ROWS = 262_144
# Allowed rows are all scored while that costs no more than a graph search that must look past the others: its work is
# near 1300 vectors x rows / allowed, so the two meet at 36 x sqrt(rows). No hit is lost by scoring all.
SCANNED, SCANNED_PER_ROOT = 5_000, 36
# The median loss of cosine that storage may have before vectors are kept beside it: SQ8 has 4e-5, SQ6 6e-4.
_LOSSLESS = 2e-4
_QUERY_BLOCK = 256

log = logging.getLogger("leafkit")


@dataclass(frozen=True, slots=True)
class Found:
    """The hits of some queries: ``scores`` and ``rows``, both (queries, hits), best first; equal scores by row."""

    scores: Float32
    rows: Int64


class Finder:
    """A FAISS index, what is kept for rescoring, and which rows are alive.

    A score is the cosine of the query with the most exact vector held of that row: the kept one, else the
    index's own. Every search gives min(k, alive or allowed rows) hits; where an approximate index finds fewer,
    all rows are scored. Searching is safe from many threads.

    The difference from the cosine with the vector given at first is below 1e-6 where that vector is held in
    float32, below 1e-3 in float16 and, for texts' embeddings of 64 components or more, below 5e-3 in int8.
    """

    def __init__(
        self,
        index: FaissIndex,
        *,
        kept: NDArray[Any] | None = None,
        live: Bits | None = None,
        oversample: int | None = None,
        depth: Depth | None = None,
        threads: int | None = 1,
    ) -> None:
        """Search ``index``; ``kept`` is what `leafkit.search.rescoring` encoded, ``live`` a bit for each row.

        ``oversample`` times k candidates are rescored with ``kept``: 10 by default and 20 for a binary index. Share
        of the true ten nearest of 20,000 package descriptions (384-d): binary 0.86, 0.95, 0.98 with 4, 10, 20;
        1-bit RaBitQ 0.97 and 0.996 with 4 and 10, for 0.1 ms more.
        """
        if oversample is not None and oversample < 1:
            raise OptionError(f"oversample is {oversample}, wanted 1 or more")
        self.index = index
        self.kept = kept
        self.live = live
        self.dim = index.dim
        self.rows = len(index)
        self.count = self.rows if live is None else int(numpy.bitwise_count(live).sum())
        self._oversample = oversample or (20 if index.binary else 10)
        self._depth = depth or Depth()
        self._threads = threads

    @classmethod
    def of_vectors(
        cls,
        vectors: NDArray[Any],
        *,
        dim: int | None = None,
        precision: str = "float32",
        factory: str | None = None,
        rescore: str | None = None,
        oversample: int | None = None,
        threads: int | None = 1,
    ) -> Finder:
        """A finder over ``vectors`` (rows, width) in memory that answers just as an index package would."""
        dim = check_dim(dim, vectors.shape[1])
        units = unit_prefix(vectors, dim, source="the documents")
        built = build(units, plan_index(len(units), precision, factory), rescore=rescore, thread_count=threads)
        kept = None if built.rescore == "none" else keeping.encode(units, built.rescore)
        return cls(built.index, kept=kept, oversample=oversample, threads=threads)

    def search(self, queries: NDArray[Any], k: int = 10, allow: Int64 | None = None) -> Found:
        """The ``k`` nearest rows of each query, shape (queries, min(k, rows to choose from)).

        ``queries`` (queries, at least dim) are cut to the index's dim and scaled to length 1; ``allow`` names
        the only rows to choose from. Raises `OptionError` for k < 1 and `VectorError` for queries without a direction.
        """
        if k < 1:
            raise OptionError(f"k is {k}, wanted 1 or more")
        check_dim(self.dim, queries.shape[1])
        units = unit_prefix(queries, self.dim, source="the queries")
        allowed = None if allow is None else self._alive(numpy.unique(allow))
        hits = min(k, self.count if allowed is None else len(allowed))
        scores = numpy.empty((len(units), hits), dtype=numpy.float32)
        rows = numpy.empty((len(units), hits), dtype=numpy.int64)
        if hits:
            with threads(self._threads):
                for start in range(0, len(units), _QUERY_BLOCK):
                    block = units[start : start + _QUERY_BLOCK]
                    for i, candidates in enumerate(self._candidates(block, hits, allowed), start):
                        scores[i], rows[i] = self._best(units[i], candidates, hits)
        return Found(scores, rows)

    def vectors(self, rows: Int64) -> Float32:
        """The most exact vectors held of ``rows``, shape (rows, dim), of any length."""
        return self.index.vectors(rows) if self.kept is None else keeping.decode(self.kept[rows])

    def alive(self) -> Int64:
        """All rows that are not removed, ascending."""
        return self._alive(numpy.arange(self.rows))

    def _alive(self, rows: Int64) -> Int64:
        if self.live is None:
            return rows
        return rows[(self.live[rows >> 3] >> (rows & 7).astype(numpy.uint8)) & 1 == 1]

    def _candidates(self, queries: Float32, hits: int, allowed: Int64 | None) -> Iterator[Int64]:
        """For each query at least ``hits`` rows to score, none of them removed or not allowed."""
        reach = min(self.rows, self._reach(hits))
        # A search for a quarter of all rows is a scan anyway.
        if 4 * reach >= self.rows or (allowed is not None and self._scans(allowed)):
            yield from self._scan(queries, reach, self.alive() if allowed is None else allowed)
            return
        for query, rows in zip(queries, self._nearest(queries, hits, reach, allowed), strict=True):
            if len(rows) < hits:
                rows = next(self._scan(query[None], reach, self.alive() if allowed is None else allowed))
            yield rows

    def _reach(self, hits: int) -> int:
        return hits if self.kept is None else hits * self._oversample

    def _scans(self, allowed: Int64) -> bool:
        """Whether to score all ``allowed`` rows: no slower than a filtered graph, or the only way."""
        return len(allowed) <= max(SCANNED, SCANNED_PER_ROOT * self.rows**0.5) or not self.index.takes_selector

    def _nearest(self, queries: Float32, hits: int, reach: int, allowed: Int64 | None) -> list[Int64]:
        bits = self.live if allowed is None else _bits(allowed, self.rows)
        if bits is None or self.index.takes_selector:
            depth = self._depth.within((self.count if allowed is None else len(allowed)) / self.rows)
            return [rows[rows >= 0] for rows in self.index.nearest(queries, reach, bits=bits, depth=depth)]
        # This type cannot leave removed rows out, so look deeper until enough alive ones are among those found.
        while True:
            looked = self.index.nearest(queries, reach, bits=None, depth=self._depth)
            found = [self._alive(rows[rows >= 0]) for rows in looked]
            if 4 * reach >= self.rows or min(len(rows) for rows in found) >= hits:
                return found
            reach *= 4

    def _scan(self, queries: Float32, reach: int, rows: Int64) -> Iterator[Int64]:
        """The ``reach`` best of ``rows`` for each query by scoring them all, a block of rows at a time."""
        best_scores = numpy.empty((len(queries), 0), dtype=numpy.float32)
        best_rows = numpy.empty((len(queries), 0), dtype=numpy.int64)
        for block in keeping.blocks_of(rows):
            vectors = self.vectors(block)
            lengths = numpy.sqrt(numpy.einsum("rd,rd->r", vectors, vectors))
            scores = queries @ vectors.T / numpy.maximum(lengths, numpy.finfo(numpy.float32).tiny)
            best_scores = numpy.concatenate([best_scores, scores], axis=1)
            best_rows = numpy.concatenate([best_rows, numpy.broadcast_to(block, scores.shape)], axis=1)
            if best_scores.shape[1] > reach:
                order = numpy.argpartition(-best_scores, reach - 1, axis=1)[:, :reach]
                best_scores = numpy.take_along_axis(best_scores, order, axis=1)
                best_rows = numpy.take_along_axis(best_rows, order, axis=1)
        yield from best_rows

    def _best(self, query: Float32, rows: Int64, hits: int) -> tuple[Float32, Int64]:
        scores = cosines(query, self.vectors(rows))
        order = numpy.lexsort((rows, -scores))[:hits]
        return scores[order], rows[order]


@dataclass(frozen=True, slots=True)
class Built:
    """A filled index, the precision to keep beside it (``none`` if it needs nothing), and its median loss of cosine."""

    index: FaissIndex
    rescore: str
    loss: float


def build(
    vectors: Float32,
    plan: Plan,
    *,
    rescore: str | None,
    seed: int = 0,
    thread_count: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Built:
    """Train and fill an index of ``plan`` with unit ``vectors`` (rows, dim), which may be a memory map.

    Trains on at most 262,144 rows drawn with ``seed``. ``rescore`` None keeps float16 beside a lossy index, int8
    beside a binary one (whose point is size: sign bits in memory, int8 on disk) and nothing beside the rest.
    ``advance`` is told the rows of each block that was added.
    """
    check_rescore(rescore)
    with threads(thread_count):
        index = FaissIndex.empty(plan, vectors.shape[1])
        if len(vectors) and not index.trained:
            index.train(_sample(vectors, TRAINING_ROWS, seed))
        for block in keeping.blocks_of(vectors):
            index.add(block)
            advance(len(block))
        chosen, lost = _choose_kept(index, _some_rows(len(vectors), 1024, seed), vectors, rescore)
    return Built(index, chosen, lost)


def losses(held: Float32, vectors: Float32) -> Float32:
    """1 - cosine between each row held and the one given; a cosine with a query errs by at most sqrt(2 x that)."""
    lengths = numpy.linalg.norm(held, axis=1) * numpy.linalg.norm(vectors, axis=1)
    return 1 - numpy.einsum("rd,rd->r", held, vectors) / numpy.maximum(lengths, 1e-30)


def _choose_kept(index: FaissIndex, rows: Int64, vectors: Float32, rescore: str | None) -> tuple[str, float]:
    sample = numpy.asarray(vectors[rows])
    lost = _median_loss(index.vectors(rows), sample) if index.keeps_vectors else 1.0
    if rescore == "none":
        if not index.keeps_vectors:
            raise OptionError("this type of index cannot give its vectors back, so hits need --rescore float16 or int8")
        return "none", lost
    if rescore is None:
        return ("int8" if index.binary else "none" if lost < _LOSSLESS else "float16"), lost
    if len(rows) and lost <= _median_loss(keeping.decode(keeping.encode(sample, rescore)), sample):
        log.info("rescore %s is left out: the index holds the vectors at least as exactly", rescore)
        return "none", lost
    return rescore, lost


def _median_loss(held: Float32, vectors: Float32) -> float:
    return float(numpy.median(losses(held, vectors))) if len(held) else 0.0


def _some_rows(total: int, count: int, seed: int) -> Int64:
    if total <= count:
        return numpy.arange(total)
    return numpy.sort(numpy.random.default_rng(seed).choice(total, count, replace=False))


def _sample(vectors: Float32, count: int, seed: int) -> Float32:
    return numpy.ascontiguousarray(vectors[_some_rows(len(vectors), count, seed)])


def _bits(rows: Int64, total: int) -> Bits:
    mask = numpy.zeros(-(-total // 8) * 8, dtype=bool)
    mask[rows] = True
    return numpy.packbits(mask, bitorder="little")
