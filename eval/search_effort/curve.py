"""Recall and number of distances at every depth of an approximate search, query by query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import faiss
import numpy

from leafkit.evaluation.metrics import Float64
from leafkit.files.progress import progress
from leafkit.index.fill import fill_index
from leafkit.search.faiss_index import Depth, FaissIndex, faiss_threads
from leafkit.search.plan import plan_index
from leafkit.types import Float32, Int64

HITS = 10
GRAPH = "HNSW32"
# A found document counts if it is as near as the tenth nearest: an index cannot know which of equal documents is meant.
TIE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What the queries of one encoder find in one kind of index, as means over its builds.

    ``recall``, shape (depths, queries), is the share of the exact ten nearest documents that are found. ``distances``,
    shape (depths,), is the number of documents that a query is compared with, as a share of all.
    """

    factory: str
    depths: tuple[int, ...]
    recall: Float64
    distances: Float64

    @property
    def means(self) -> Float64:
        """The mean recall at each depth, shape (depths,)."""
        return self.recall.mean(axis=1)


def lists_for(documents: int) -> str:
    """Return the FAISS factory of inverted lists, about four square roots of the number of documents."""
    return f"IVF{2 ** round(numpy.log2(4 * documents**0.5))}"


def depths_of(factory: str) -> tuple[int, ...]:
    """Return the depths to measure, four per octave: open nodes of a graph (10 to 512), or visited lists (1 to all)."""
    first, last = (1, int(factory.removeprefix("IVF"))) if factory.startswith("IVF") else (HITS, 512)
    steps = int(numpy.ceil(4 * numpy.log2(last / first)))
    return tuple(sorted({min(last, round(first * 2 ** (step / 4))) for step in range(steps + 1)}))


def curves(
    documents: Float32, queries: Mapping[str, Float32], factory: str, *, builds: int, seed: int
) -> dict[str, Curve]:
    """Return the curve of each encoder's ``queries`` (queries, dim) in an index of unit ``documents`` (rows, dim).

    ``factory`` is HNSW32, or IVF with a number of lists. FAISS draws levels and first centroids by position, so each
    of the ``builds`` adds the documents in another order, drawn from ``seed``.
    """
    depths = depths_of(factory)
    tenth = {name: _tenth_score(vectors, documents) for name, vectors in queries.items()}
    recall = {name: numpy.zeros((len(depths), len(vectors))) for name, vectors in queries.items()}
    distances = {name: numpy.zeros(len(depths)) for name in queries}
    with progress(factory, total=builds * len(depths) * len(queries), unit="searches") as bar:
        for order in _orders(len(documents), builds, seed):
            shuffled = documents[order]
            index = fill_index(shuffled, plan_index(len(shuffled), "float32", factory), rescore="none", threads=1).index
            for name, vectors in queries.items():
                for place, depth in enumerate(depths):
                    rows, compared = _search(index, vectors, depth)
                    recall[name][place] += _recall(vectors, shuffled, rows, tenth[name]) / builds
                    distances[name][place] += compared / len(documents) / builds
                    bar.update(1)
    return {
        name: Curve(factory=factory, depths=depths, recall=recall[name], distances=distances[name]) for name in queries
    }


def _orders(rows: int, builds: int, seed: int) -> Iterator[Int64]:
    generator = numpy.random.default_rng(seed)
    return (generator.permutation(rows) for _ in range(builds))


def _tenth_score(queries: Float32, documents: Float32) -> Float32:
    """Return the score of each query's tenth nearest document."""
    return faiss.knn(queries, documents, HITS, metric=faiss.METRIC_INNER_PRODUCT)[0][:, -1]


def _search(index: FaissIndex, queries: Float32, depth: int) -> tuple[Int64, float]:
    """Return the found rows, and the number of vectors that a query was compared with, including centroids."""
    counters: Sequence[Any] = (cast(Any, faiss.cvar).hnsw_stats, cast(Any, faiss.cvar).indexIVF_stats)
    for counter in counters:
        counter.reset()
    with faiss_threads(None):
        rows = index.nearest(queries, HITS, bits=None, depth=Depth(lists=depth, nodes=depth))
    centroids = getattr(index.native, "nlist", 0)
    return rows, sum(counter.ndis for counter in counters) / len(queries) + centroids


def _recall(queries: Float32, documents: Float32, rows: Int64, tenth: Float32) -> Float64:
    scores = numpy.einsum("qd,qhd->qh", queries, documents[rows])
    return ((scores >= tenth[:, None] - TIE) & (rows >= 0)).mean(axis=1)
