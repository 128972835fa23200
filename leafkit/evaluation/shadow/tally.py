"""What a shadow run keeps of each query. Its memory does not grow with the hits, only by eight bytes for each query."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from leafkit.search.hits import Hits

_SNIPPET = 160  # characters of a document that a report shows


@dataclass(frozen=True, kw_only=True)
class ShownHit:
    """A hit of a query that is shown: its id, the beginning of its text, and whether the other side found it too."""

    id: str
    text: str
    shared: bool


@dataclass(frozen=True, kw_only=True)
class ShownQuery:
    """A query whose hits differ much.

    overlap: the share of the reference's hits that the tried encoder found too.
    best_rank: the tried encoder's rank of the reference's best hit, None if it did not find it.
    """

    query: str
    overlap: float
    best_rank: int | None
    tried: tuple[ShownHit, ...]
    reference: tuple[ShownHit, ...]


class Tally:
    """Counts over queries of how the hits of a tried encoder differ from those of a reference.

    depth: the hits of each query.
    worst: how many of the queries that differ most are kept, each text once.

    ``shared`` (depth + 1,) counts the queries by the number of hits that both found, ``best_ranks`` (depth + 1,) by the
    tried encoder's rank of the reference's best hit, counted from 0, the last for those not found. Over all hits that
    both found, ``moves`` adds up by how many ranks they moved, and ``stayed`` counts those that did not move.
    """

    def __init__(self, depth: int, worst: int) -> None:
        self.depth = depth
        self.queries = 0
        self.shared = numpy.zeros(depth + 1, dtype=numpy.int64)
        self.best_ranks = numpy.zeros(depth + 1, dtype=numpy.int64)
        self.moves = 0
        self.stayed = 0
        self.milliseconds: tuple[array[float], array[float]] = (array("f"), array("f"))
        self._most = worst
        self._worst: list[tuple[tuple[int, int, int], int, ShownQuery]] = []
        self._kept: set[str] = set()

    def add(self, query: str, tried: Hits, reference: Hits, milliseconds: tuple[float, float]) -> None:
        """Count one ``query`` with the hits and the milliseconds of the tried and the reference encoder."""
        ranks = {name: rank for rank, name in enumerate(tried.ids)}
        moves = [abs(rank - ranks[name]) for rank, name in enumerate(reference.ids) if name in ranks]
        best = ranks.get(reference.ids[0], self.depth)
        self.queries += 1
        self.shared[len(moves)] += 1
        self.best_ranks[best] += 1
        self.moves += sum(moves)
        self.stayed += moves.count(0)
        for times, value in zip(self.milliseconds, milliseconds, strict=True):
            times.append(value)
        damage = (self.depth - len(moves), best, sum(moves))
        if any(damage):
            self._keep(query, damage, tried, reference)

    def worst(self) -> tuple[ShownQuery, ...]:
        """Return the queries that differ most: fewest shared hits first, then the lowest rank of the best hit."""
        return tuple(query for _, _, query in sorted(self._worst, key=lambda one: one[:2], reverse=True))

    def _keep(self, query: str, damage: tuple[int, int, int], tried: Hits, reference: Hits) -> None:
        full = len(self._worst) >= self._most
        if query in self._kept or not self._most or (full and damage <= self._worst[0][0]):
            return
        shown = ShownQuery(
            query=query,
            overlap=1 - damage[0] / self.depth,
            best_rank=None if damage[1] == self.depth else damage[1] + 1,
            tried=_shown(tried, reference.ids),
            reference=_shown(reference, tried.ids),
        )
        entry = (damage, -self.queries, shown)  # of two with equal damage, the first is kept
        if full:
            self._kept.discard(heapq.heapreplace(self._worst, entry)[2].query)
        else:
            heapq.heappush(self._worst, entry)
        self._kept.add(query)


def _shown(hits: Hits, others: Sequence[str]) -> tuple[ShownHit, ...]:
    return tuple(
        ShownHit(id=name, text=_snippet(payload), shared=name in others)
        for name, payload in zip(hits.ids, hits.payload, strict=True)
    )


def _snippet(payload: dict[str, Any]) -> str:
    words = " ".join(f"{payload.get('title') or ''} {payload.get('text') or ''}"[: 4 * _SNIPPET].split())
    return words if len(words) <= _SNIPPET else f"{words[: _SNIPPET - 1]}…"
