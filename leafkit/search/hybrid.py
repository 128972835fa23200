"""Fuse dense search and BM25: each finds documents that the other misses.

Two ways, both over the hundred best of each side. **Convex**: ``w * dense + (1 - w) * BM25``, after each side's scores
were scaled to 0..1 by their least and largest (Bruch et al., 2023, https://arxiv.org/abs/2210.11934, eq. 3); a document
that one side did not find gets 0 there. **Reciprocal rank fusion**: the sum of ``1 / (60 + rank)`` (Cormack et al.,
2009, https://doi.org/10.1145/1571941.1572114).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.search.lexical import Lexical
from leafkit.search.ranking import Ranking, best
from leafkit.types import Float32, Int64

if TYPE_CHECKING:
    from leafkit.search.vector_search import VectorSearch

Fusion = float | Literal["rrf"]
"""How to fuse: the weight of the dense side from 0 to 1, or ``rrf`` for reciprocal rank fusion."""

RRF: Literal["rrf"] = "rrf"
# Chosen on dev queries: see eval/results/hybrid.md.
DENSE_WEIGHT = 0.6
POOL = 100  # hits of each side that are fused; more if more hits are requested
_RRF_RANKS = 60

_NOTHING = Ranking(numpy.empty(0, dtype=numpy.int64), numpy.empty(0, dtype=numpy.float32))


@dataclass(frozen=True, slots=True)
class FusedRanking:
    """The rows found for one query, their cosines and their fused scores, all (hits,), best first by fused score."""

    rows: Int64
    cosines: Float32
    fused: Float32


def check_fusion(hybrid: float | str | bool | None) -> Fusion | None:
    """Return the fusion that ``hybrid`` requests: True stands for the default weight, None and False for no fusion.

    Raises `OptionError` for a weight outside 0 to 1 and for an unknown name.
    """
    if hybrid is None or isinstance(hybrid, bool):
        return DENSE_WEIGHT if hybrid else None
    if isinstance(hybrid, int | float) and 0 <= hybrid <= 1:
        return float(hybrid)
    if hybrid != RRF:
        raise OptionError(
            f"hybrid is {hybrid!r}; expected the weight of the dense side from 0 (BM25 alone) to 1 (dense alone), e.g. "
            f"{DENSE_WEIGHT}, or '{RRF}'."
        )
    return RRF


def fuse(dense: Ranking, lexical: Ranking, fusion: Fusion, k: int) -> Ranking:
    """Return the ``k`` best rows of two rankings by their fused scores.

    The order does not change if all scores of a side are multiplied by a positive number, or a number is added to them.
    """
    rows, places = numpy.unique(numpy.concatenate([dense.rows, lexical.rows]), return_inverse=True)
    found = numpy.split(places, [len(dense.rows)])
    fused = numpy.zeros(len(rows), dtype=numpy.float64)
    for ranking, at, weight in zip((dense, lexical), found, _weights(fusion), strict=True):
        fused[at] += weight * (_reciprocal_ranks(ranking) if fusion == RRF else _scaled(ranking.scores))
    return best(rows, fused.astype(numpy.float32), k)


def hybrid_search(
    vector_search: VectorSearch,
    lexical: Lexical,
    texts: Sequence[str],
    vectors: NDArray[Any],
    *,
    k: int,
    allow: Int64 | None,
    fusion: Fusion,
) -> Iterator[FusedRanking]:
    """Yield the ``k`` best rows for each of ``texts``, whose ``vectors`` are (texts, at least the index's dim).

    ``allow`` lists the only rows to choose from. With the weight 1 the hits are those of the dense search, and with
    the weight 0 those of BM25, which are fewer than ``k`` if fewer documents share a word with the text.
    """
    depth = k if fusion == 1 else max(k, POOL)
    neighbours = vector_search.search(vectors, depth, allow) if fusion != 0 else None
    for i, text in enumerate(texts):
        dense = _NOTHING if neighbours is None else Ranking(neighbours.rows[i], neighbours.scores[i])
        found = _NOTHING if fusion == 1 else lexical.search(text, depth, allow)
        fused = fuse(dense, found, fusion, k)
        yield FusedRanking(fused.rows, _cosines(vector_search, vectors[i], fused.rows, dense), fused.scores)


def _cosines(vector_search: VectorSearch, vector: NDArray[Any], rows: Int64, known: Ranking) -> Float32:
    """Return the cosine of ``vector`` with each of ``rows``; those in ``known`` are not computed again."""
    order = numpy.argsort(known.rows)
    cosines = numpy.empty(len(rows), dtype=numpy.float32)
    is_known = numpy.isin(rows, known.rows)
    cosines[is_known] = known.scores[order][numpy.searchsorted(known.rows[order], rows[is_known])]
    cosines[~is_known] = vector_search.cosines(vector, rows[~is_known])
    return cosines


def _weights(fusion: Fusion) -> tuple[float, float]:
    return (1.0, 1.0) if fusion == RRF else (fusion, 1 - fusion)


def _scaled(scores: Float32) -> NDArray[numpy.float64]:
    """Scale ``scores`` to 0..1; equal scores become 1."""
    exact = scores.astype(numpy.float64)
    spread = numpy.ptp(exact) if len(exact) else 0.0
    return (exact - exact.min()) / spread if spread else numpy.ones(len(exact))


def _reciprocal_ranks(ranking: Ranking) -> NDArray[numpy.float64]:
    return 1 / (_RRF_RANKS + numpy.arange(1, len(ranking.rows) + 1))
