"""The rows of an evaluation: one system on one data set in one cell of the grid, and means over collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leafkit.evaluation.bootstrap import Interval


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One system on one data set in one cell of the grid.

    ``main`` names the metric that the interval and the retentions are about. ``retention`` is that metric over
    the teacher's in the same cell, ``of_full`` over the teacher's at full width in float32; both are ratios and
    None where the teacher was not measured. ``queries`` counts queries, or the scored texts of a task without queries.
    """

    data: str
    mode: str
    student: str | None
    dim: int | None
    precision: str | None
    metrics: dict[str, float]
    main: str
    interval: Interval | None = None
    retention: float | None = None
    retention_interval: Interval | None = None
    of_full: float | None = None
    of_full_interval: Interval | None = None
    beir_ndcg: float | None = None
    queries: int | None = None
    documents: int | None = None


@dataclass(frozen=True, kw_only=True)
class CollectionMeans:
    """Rows that are means over ``collections``; a retention is the mean of the collections' retentions.

    Intervals come from resampling the queries of every collection.
    """

    collections: tuple[str, ...]
    rows: tuple[ResultRow, ...]


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean; None where a value is missing, or all are."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found and len(found) == len(values) else None
