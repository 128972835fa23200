"""CollectionMeans over collections: nDCG@10, and retention as the mean of the collections' ratios to the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from leafkit.evaluation.bootstrap import Interval, interval, ratios, resampled_means
from leafkit.evaluation.metrics import Float64
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow, mean_or_none
from leafkit.evaluation.retrieval import CollectionResults

Key = tuple[str, str | None, int | None, str | None]


def means_over(measured: Sequence[CollectionResults], *, seed: int) -> tuple[CollectionMeans, ...]:
    """One block with a row for each system and cell that every collection has; none for fewer than two collections.

    Intervals come from resampling the queries of each collection, for teacher and student alike.
    """
    if len(measured) < 2:
        return ()
    # Each collection has draws of its own, as queries of one collection say nothing about those of another.
    samples = [_samples(one, (seed, position)) for position, one in enumerate(measured)]
    keys = [key for key in samples[0] if all(key in sample for sample in samples)]
    rows = tuple(_mean([sample[key] for sample in samples], len(measured)) for key in keys)
    return (CollectionMeans(collections=tuple(one.rows[0].data for one in measured), rows=rows),)


@dataclass(frozen=True)
class _Sample:
    """A row, its resampled means, and their ratios to the teacher's where there is one."""

    row: ResultRow
    means: Float64
    ratios: Float64 | None


def _samples(measured: CollectionResults, seed: Sequence[int]) -> dict[Key, _Sample]:
    keys = [_key(row) for row in measured.rows]
    means = dict(zip(keys, resampled_means(measured.values, seed=seed).T, strict=True))
    found = {}
    for key, row in zip(keys, measured.rows, strict=True):
        teacher = means.get(("teacher", None, row.dim, row.precision))
        found[key] = _Sample(row, means[key], None if teacher is None else ratios(means[key], teacher))
    return found


def _key(row: ResultRow) -> Key:
    return row.mode, row.student, row.dim, row.precision


def _mean(samples: Sequence[_Sample], collections: int) -> ResultRow:
    rows = [sample.row for sample in samples]
    return ResultRow(
        data=f"mean over {collections} collections",
        mode=rows[0].mode,
        student=rows[0].student,
        dim=rows[0].dim,
        precision=rows[0].precision,
        metrics={name: float(numpy.mean([row.metrics[name] for row in rows])) for name in rows[0].metrics},
        main=rows[0].main,
        interval=_interval([sample.means for sample in samples]),
        retention=mean_or_none([row.retention for row in rows]),
        retention_interval=_interval([sample.ratios for sample in samples]),
        of_full=mean_or_none([row.of_full for row in rows]),
    )


def _interval(samples: Sequence[Float64 | None]) -> Interval | None:
    found = [sample for sample in samples if sample is not None]
    return interval(numpy.mean(found, axis=0)) if len(found) == len(samples) else None
