"""Recall at every depth of an approximate search, query by query, with the distances it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import faiss
import numpy

from leafkit.evaluation.metrics import Float64
from leafkit.files.progress import progress
from leafkit.search.faiss_index import Depth, FaissIndex, threads
from leafkit.search.finder import build
from leafkit.search.plan import plan_index
from leafkit.types import Float32, Int64

HITS = 10
GRAPH = "HNSW32"
# A found document counts if it is as near as the tenth nearest: of equal ones no index can know which is meant.
TIE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one system's queries find in one kind of index; every value is the mean over its builds.

    ``recall`` (depths, queries) is the share of the exact ten nearest; ``distances`` (depths,) how many documents a
    query is compared with, as a share of all.
    """

    factory: str
    depths: tuple[int, ...]
    recall: Float64
    distances: Float64

    @property
    def means(self) -> Float64:
        """Mean recall at each depth."""
        return self.recall.mean(axis=1)


def lists_for(documents: int) -> str:
    """Inverted lists as an index of a million documents would have them: near four square roots of the number."""
    return f"IVF{2 ** round(numpy.log2(4 * documents**0.5))}"


def depths_of(factory: str) -> tuple[int, ...]:
    """The depths to measure: nodes open in a graph (10 to 512), or lists visited (1 to all), four to an octave."""
    first, last = (1, int(factory.removeprefix("IVF"))) if factory.startswith("IVF") else (HITS, 512)
    steps = int(numpy.ceil(4 * numpy.log2(last / first)))
    return tuple(sorted({min(last, round(first * 2 ** (step / 4))) for step in range(steps + 1)}))


def curves(
    documents: Float32, queries: Mapping[str, Float32], factory: str, *, builds: int, seed: int
) -> dict[str, Curve]:
    """The curve of each system's ``queries`` (queries, dim) in an index of unit ``documents`` (rows, dim).

    ``factory`` is HNSW32 or IVF with a number of lists. FAISS draws levels and first centroids by position, so each
    of the ``builds`` takes the documents in another order, drawn from ``seed``.
    """
    depths = depths_of(factory)
    exact = {name: _tenth(vectors, documents) for name, vectors in queries.items()}
    recall = {name: numpy.zeros((len(depths), len(vectors))) for name, vectors in queries.items()}
    distances = {name: numpy.zeros(len(depths)) for name in queries}
    with progress(factory, total=builds * len(depths) * len(queries), unit="searches") as bar:
        for order in _orders(len(documents), builds, seed):
            shuffled = documents[order]
            index = build(shuffled, plan_index(len(shuffled), "float32", factory), rescore="none", thread_count=1).index
            for name, vectors in queries.items():
                for at, depth in enumerate(depths):
                    rows, compared = _search(index, vectors, depth)
                    recall[name][at] += _recall(vectors, shuffled, rows, exact[name]) / builds
                    distances[name][at] += compared / len(documents) / builds
                    bar.update(1)
    return {
        name: Curve(factory=factory, depths=depths, recall=recall[name], distances=distances[name]) for name in queries
    }


def _orders(rows: int, builds: int, seed: int) -> Iterator[Int64]:
    generator = numpy.random.default_rng(seed)
    return (generator.permutation(rows) for _ in range(builds))


def _tenth(queries: Float32, documents: Float32) -> Float32:
    """The score of each query's tenth nearest document."""
    return faiss.knn(queries, documents, HITS, metric=faiss.METRIC_INNER_PRODUCT)[0][:, -1]


def _search(index: FaissIndex, queries: Float32, depth: int) -> tuple[Int64, float]:
    """The rows found, and how many vectors a query was compared with, centroids among them."""
    counters: Sequence = (faiss.cvar.hnsw_stats, faiss.cvar.indexIVF_stats)
    for counter in counters:
        counter.reset()
    with threads(None):
        rows = index.nearest(queries, HITS, bits=None, depth=Depth(lists=depth, nodes=depth))
    centroids = getattr(index.native, "nlist", 0)
    return rows, sum(counter.ndis for counter in counters) / len(queries) + centroids


def _recall(queries: Float32, documents: Float32, rows: Int64, tenth: Float32) -> Float64:
    scores = numpy.einsum("qd,qhd->qh", queries, documents[rows])
    return ((scores >= tenth[:, None] - TIE) & (rows >= 0)).mean(axis=1)
