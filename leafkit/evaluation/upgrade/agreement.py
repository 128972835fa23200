"""Agreement of a way with the old model's ranking, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import faiss
import numpy

from leafkit.evaluation.bootstrap import Interval, interval, resampled_means
from leafkit.evaluation.metrics import Float64
from leafkit.types import Float32, Int64
from leafkit.vectors.cosine import unit_prefix

DEPTH = 10
RANKED = 100  # the old model's best documents whose order is compared
_BLOCK = 64  # queries whose hundred documents are gathered at a time


class Sides(NamedTuple):
    """The vectors of the queries (queries, width) and of the documents (documents, width) of one way."""

    queries: Float32
    documents: Float32


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a way's ranking agrees with the old one, each a mean over queries with its 95 % interval.

    overlap: the share of the old ten best hits among the way's ten.
    rank: Spearman's correlation of both scores over the old model's hundred best documents, -1 to 1.
    """

    overlap: float
    overlap_interval: Interval | None
    rank: float
    rank_interval: Interval | None


def agreements(old: Sides, ways: Mapping[str, Sides], own: Int64, *, seed: int) -> dict[str, Agreement]:
    """Compare each of ``ways`` with the ranking of ``old``; both have the same queries and documents in order.

    own: the row of the document that is the query itself and cannot be its hit, -1 for none, (queries,).
    """
    old = _unit(old)
    reference = _nearest(old, own, RANKED)
    values: list[Float64] = []
    for way in map(_unit, ways.values()):
        found = _nearest(way, own, DEPTH)
        best = reference[:, :DEPTH]
        values.append((best[:, :, None] == found[:, None, :]).any(axis=2).mean(axis=1))
        values.append(_rank_correlations(old, way, reference))
    samples = resampled_means(numpy.stack(values), seed=seed)
    return {
        name: Agreement(
            overlap=float(values[2 * at].mean()),
            overlap_interval=interval(samples[:, 2 * at]),
            rank=float(values[2 * at + 1].mean()),
            rank_interval=interval(samples[:, 2 * at + 1]),
        )
        for at, name in enumerate(ways)
    }


def _unit(sides: Sides) -> Sides:
    return Sides(
        *(
            unit_prefix(vectors, vectors.shape[1], source=f"the {name}")
            for name, vectors in zip(sides._fields, sides, strict=True)
        )
    )


def _nearest(sides: Sides, own: Int64, k: int) -> Int64:
    """Return the rows of the ``k`` nearest documents of each query without its ``own``, (queries, k or fewer)."""
    k = min(k, len(sides.documents) - 1)
    _, rows = faiss.knn(sides.queries, sides.documents, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    kept = rows != own[:, None]
    kept[kept.all(axis=1), k] = False  # a query without a document of its own loses the last hit instead
    return rows[kept].reshape(len(rows), k)


def _rank_correlations(old: Sides, way: Sides, rows: Int64) -> Float64:
    """Return the rank correlation of both ways' scores over the documents ``rows`` of each query, (queries,)."""
    if rows.shape[1] < 2:
        return numpy.ones(len(rows))
    found = []
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        left, right = (_centred_ranks(side, rows[part], part) for side in (old, way))
        lengths = numpy.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
        found.append((left * right).sum(axis=1) / lengths)
    return numpy.concatenate(found)


def _centred_ranks(sides: Sides, rows: Int64, part: slice) -> Float64:
    """Return the rank of each of ``rows`` (queries, documents) for the queries of ``part``, less the mean of its query.

    Equal scores are ranked by position.
    """
    scores = numpy.einsum("qrd,qd->qr", sides.documents[rows], sides.queries[part])
    ranks = numpy.argsort(numpy.argsort(-scores, axis=1, kind="stable"), axis=1).astype(numpy.float64)
    return ranks - ranks.mean(axis=1, keepdims=True)
