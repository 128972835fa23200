"""A ranking of documents for one query, by any score: cosines, BM25 or both fused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.types import Float32, Int64


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rows found for one query and their scores, both (hits,), best first."""

    rows: Int64
    scores: Float32


def best(rows: Int64, scores: Float32, k: int) -> Ranking:
    """Return the ``k`` best of ``rows`` (rows,) by ``scores`` (rows,); ties are ranked by row."""
    if len(rows) > k:
        kept = scores >= numpy.partition(scores, len(rows) - k)[len(rows) - k]
        rows, scores = rows[kept], scores[kept]
    order = numpy.lexsort((rows, -scores))[:k]
    return Ranking(rows[order], scores[order])
