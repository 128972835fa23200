"""nDCG@10 of each way on judged queries; all ways share the resampled queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy

from leafkit.evaluation.bootstrap import Interval, interval, ratio_interval, resampled_means
from leafkit.evaluation.collection import Collection
from leafkit.evaluation.grid import FULL_PRECISION, Cell, CellFinder
from leafkit.evaluation.metrics import MAIN_METRIC, Float64
from leafkit.evaluation.retrieval import search_scores
from leafkit.evaluation.upgrade.agreement import Sides


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over queries, or a ratio of two, with its 95 % interval; None for a ratio to zero."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Judged:
    """nDCG@10 of ``ways``.

    values: of every query, (ways, queries). samples: the mean over resampled queries, (resamples, ways).
    """

    ways: tuple[str, ...]
    values: Float64
    samples: Float64

    def ndcg(self, way: str) -> Figure:
        """Return the mean of ``way``."""
        at = self.ways.index(way)
        return Figure(value=float(self.values[at].mean()), interval=interval(self.samples[:, at]))

    def ratio(self, way: str, base: str) -> Figure:
        """Return the mean of ``way`` divided by that of ``base``, over the same resampled queries."""
        at, below = self.ways.index(way), self.ways.index(base)
        upper, lower = self.values[at].mean(), self.values[below].mean()
        return Figure(
            value=float(upper / lower) if lower else None,
            interval=ratio_interval(self.samples[:, at], self.samples[:, below]),
        )


def judge(collection: Collection, ways: Mapping[str, Sides], *, seed: int) -> Judged:
    """Search the documents of ``collection`` with its queries in each of ``ways``, exhaustively in float32."""
    finders: dict[int, CellFinder] = {}
    values = []
    for queries, documents in ways.values():
        finder = finders.setdefault(
            id(documents), CellFinder(documents, Cell(dim=documents.shape[1], precision=FULL_PRECISION))
        )
        values.append(search_scores(collection, queries, finder).values[MAIN_METRIC])
    scores = numpy.stack(values)
    return Judged(ways=tuple(ways), values=scores, samples=resampled_means(scores, seed=seed))
