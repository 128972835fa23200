"""Rows of results: one mode of one student on one data set in one grid cell, and rows averaged over collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leafkit.evaluation.bootstrap import Interval

BM25 = "bm25"


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """The metrics of one mode of one student on one data set in one grid cell.

    ``mode`` is one of `leafkit.evaluation.modes`, or `BM25`, or a mode fused with it (``asymmetric+bm25``).
    ``student``, ``dim`` and ``precision`` are None where they do not apply: the teacher has no student, BM25 no dim.
    ``main`` names the metric that ``interval`` and the retentions refer to. ``retention`` is this metric divided by
    the teacher's in the same cell; ``of_full`` divides by the teacher's at full dim in float32. Both are fractions,
    and None if the teacher was not measured. ``queries`` counts queries, or the scored texts of a task without
    queries. ``beir_ndcg`` is nDCG@10 as BEIR computes it, if requested.
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
    """Rows averaged over ``collections``; a retention is the mean of the collections' retentions.

    Intervals come from resampling the queries of every collection.
    """

    collections: tuple[str, ...]
    rows: tuple[ResultRow, ...]


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Return the mean of ``values``, or None if a value is missing or ``values`` is empty."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
