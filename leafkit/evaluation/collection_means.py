"""Means over collections: of nDCG@10, and of each collection's retention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from leafkit.evaluation.bootstrap import Interval, interval, ratios, resampled_means
from leafkit.evaluation.metrics import Float64
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow, mean_or_none
from leafkit.evaluation.retrieval import CollectionResults

Key = tuple[str, str | None, int | None, str | None]
"""What identifies a row within a collection: mode, student, dim and precision."""


def means_over(measured: Sequence[CollectionResults], *, seed: int) -> tuple[CollectionMeans, ...]:
    """Average the rows that every collection has; return nothing for fewer than two collections.

    Intervals come from resampling the queries of each collection; teacher and student share the resamples.
    """
    if len(measured) < 2:
        return ()
    # Each collection gets draws of its own, because the queries of different collections are independent.
    samples = [_samples(one, (seed, position)) for position, one in enumerate(measured)]
    keys = [key for key in samples[0] if all(key in sample for sample in samples)]
    rows = tuple(_mean_row([sample[key] for sample in samples], len(measured)) for key in keys)
    return (CollectionMeans(collections=tuple(one.rows[0].data for one in measured), rows=rows),)


@dataclass(frozen=True)
class _Sample:
    """A row of one collection, its resampled means, and their ratios to the teacher's (None without a teacher)."""

    row: ResultRow
    means: Float64
    ratios: Float64 | None


def _samples(measured: CollectionResults, seed: Sequence[int]) -> dict[Key, _Sample]:
    keys = [_key(row) for row in measured.rows]
    means = dict(zip(keys, resampled_means(measured.query_scores, seed=seed).T, strict=True))
    found = {}
    for key, row in zip(keys, measured.rows, strict=True):
        teacher = means.get(("teacher", None, row.dim, row.precision))
        found[key] = _Sample(row, means[key], None if teacher is None else ratios(means[key], teacher))
    return found


def _key(row: ResultRow) -> Key:
    return row.mode, row.student, row.dim, row.precision


def _mean_row(samples: Sequence[_Sample], collections: int) -> ResultRow:
    rows = [sample.row for sample in samples]
    return ResultRow(
        data=f"mean over {collections} collections",
        mode=rows[0].mode,
        student=rows[0].student,
        dim=rows[0].dim,
        precision=rows[0].precision,
        metrics={name: float(numpy.mean([row.metrics[name] for row in rows])) for name in rows[0].metrics},
        main=rows[0].main,
        interval=_mean_interval([sample.means for sample in samples]),
        retention=mean_or_none([row.retention for row in rows]),
        retention_interval=_mean_interval([sample.ratios for sample in samples]),
        of_full=mean_or_none([row.of_full for row in rows]),
    )


def _mean_interval(samples: Sequence[Float64 | None]) -> Interval | None:
    """Return the interval of the mean over ``samples``, or None if a collection has no sample."""
    known = [sample for sample in samples if sample is not None]
    return interval(numpy.mean(known, axis=0)) if len(known) == len(samples) else None
