from __future__ import annotations

import numpy
import pytest

from leafkit.evaluation.bootstrap import ratio_interval, resampled_means
from leafkit.evaluation.collection_means import means_over
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.retrieval import CollectionResults


def measured(name, **scores):
    """Results on one collection from each mode's scores on every query, with the retention of each row."""
    values = numpy.array(list(scores.values()), dtype=numpy.float64)
    means = dict(zip(scores, values.mean(axis=1).tolist(), strict=True))
    teacher = means.get("teacher")
    rows = [
        ResultRow(
            data=name,
            mode=mode,
            student=None if mode in ("teacher", "bm25") else "s",
            dim=None if mode == "bm25" else 8,
            precision=None if mode == "bm25" else "float32",
            metrics={"ndcg@10": mean},
            main="ndcg@10",
            retention=None if not teacher or mode == "bm25" else mean / teacher,
        )
        for mode, mean in means.items()
    ]
    return CollectionResults(rows, values)


def many(name, seed, queries=400):
    """Results of a student with about three quarters of the teacher's score on every query."""
    draw = numpy.random.default_rng(seed)
    teacher = draw.random(queries)
    return measured(name, teacher=teacher, asymmetric=teacher * draw.uniform(0.5, 1, queries))


def test_means_and_retentions_worked_by_hand():
    one = measured("one", teacher=[0.5, 0.7], asymmetric=[0.2, 0.4])  # means 0.6 and 0.3, retention 0.5
    two = measured("two", teacher=[0.2, 0.2, 0.2], asymmetric=[0.1, 0.2, 0.3])  # means 0.2 and 0.2, retention 1
    (found,) = means_over([one, two], seed=0)
    teacher, student = found.rows
    assert found.collections == ("one", "two")
    assert {row.data for row in found.rows} == {"mean over 2 collections"}
    assert (teacher.metrics["ndcg@10"], teacher.retention) == pytest.approx((0.4, 1.0))
    # the mean of the ratios 0.5 and 1, not the ratio of the means, 0.25 / 0.4
    assert (student.metrics["ndcg@10"], student.retention) == pytest.approx((0.25, 0.75))
    assert (student.mode, student.student, student.dim, student.precision) == ("asymmetric", "s", 8, "float32")


def test_a_repeated_collection_keeps_its_mean_and_narrows_the_interval_by_root_two():
    once = many("one", 1)
    (found,) = means_over([once, many("again", 1)], seed=0)
    for mean, row in zip(found.rows, once.rows, strict=True):
        assert mean.metrics == pytest.approx(row.metrics)
        assert mean.retention == pytest.approx(row.retention)
    resampled = resampled_means(once.query_scores, seed=5)
    alone, both = ratio_interval(resampled[:, 1], resampled[:, 0]), found.rows[1].retention_interval
    assert (both.high - both.low) / (alone.high - alone.low) == pytest.approx(0.5**0.5, rel=0.1)


def test_the_interval_over_two_collections_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    one, two = many("one", 1), many("two", 2)
    (found,) = means_over([one, two], seed=0)

    def mean(first, second, axis):
        return (first.mean(axis=axis) + second.mean(axis=axis)) / 2

    samples = (one.query_scores[1], two.query_scores[1])
    theirs = stats.bootstrap(samples, mean, n_resamples=5000, method="percentile", rng=numpy.random.default_rng(0))
    ours, span = found.rows[1].interval, theirs.confidence_interval
    assert (ours.low, ours.high) == pytest.approx((span.low, span.high), abs=0.003)


def test_teacher_and_student_are_compared_on_the_same_resamples():
    """If a student has a constant share of the teacher's score on every query, so it has on every resample."""
    teacher = numpy.random.default_rng(0).random(50)
    pair = [measured(name, teacher=teacher, standard=teacher * share) for name, share in (("a", 0.9), ("b", 0.7))]
    span = means_over(pair, seed=0)[0].rows[1].retention_interval
    assert (span.low, span.high) == pytest.approx((0.8, 0.8))


def test_the_seed_alone_decides_the_intervals():
    pair = [many("one", 1), many("two", 2)]
    assert means_over(pair, seed=0) == means_over(pair, seed=0)
    assert means_over(pair, seed=0)[0].rows[1].interval != means_over(pair, seed=1)[0].rows[1].interval


def test_one_collection_has_no_mean():
    assert means_over([many("one", 1)], seed=0) == ()
    assert means_over([], seed=0) == ()


def test_only_rows_that_every_collection_has_are_averaged():
    one = measured("one", teacher=[0.4], asymmetric=[0.2])
    two = measured("two", asymmetric=[0.3])  # a vectors file that lacks the queries: no teacher mode
    (row,) = means_over([one, two], seed=0)[0].rows
    assert (row.mode, row.retention, row.retention_interval) == ("asymmetric", None, None)
    assert row.metrics["ndcg@10"] == pytest.approx(0.25)


def test_bm25_has_a_mean_and_no_retention():
    pair = [measured(name, teacher=[0.4], bm25=[0.2]) for name in ("one", "two")]
    row = means_over(pair, seed=0)[0].rows[-1]
    assert (row.mode, row.dim, row.retention, row.retention_interval) == ("bm25", None, None, None)
    assert row.metrics["ndcg@10"] == pytest.approx(0.2)


def test_a_teacher_with_score_zero_leaves_the_retention_unknown():
    one, two = measured("one", teacher=[0.4], standard=[0.2]), measured("two", teacher=[0.0], standard=[0.0])
    row = means_over([one, two], seed=0)[0].rows[1]
    assert (row.retention, row.retention_interval) == (None, None)
    assert (row.interval.low, row.interval.high) == pytest.approx((0.1, 0.1))


def cell_rows(name, precision, *, retention, of_full):
    """A teacher's and a student's row in one cell."""
    common = {"data": name, "dim": 8, "precision": precision, "metrics": {"ndcg@10": 0.5}, "main": "ndcg@10"}
    return [
        ResultRow(mode="teacher", student=None, retention=1.0, of_full=of_full / retention, **common),
        ResultRow(mode="standard", student="s", retention=retention, of_full=of_full, **common),
    ]


def test_each_cell_is_compared_with_the_teacher_in_that_cell():
    """In int8 the student scores 0.9 of the int8 teacher on every query, whatever the float32 teacher scores."""
    draw = numpy.random.default_rng(0)
    collections = []
    for name in ("one", "two"):
        full, coarse = draw.random(40), draw.random(40)
        rows = cell_rows(name, "float32", retention=0.7, of_full=0.7) + cell_rows(
            name, "int8", retention=0.9, of_full=0.6
        )
        collections.append(CollectionResults(rows, numpy.stack([full, full * 0.7, coarse, coarse * 0.9])))
    spans = [row.retention_interval for row in means_over(collections, seed=0)[0].rows]
    assert [(span.low, span.high) for span in spans] == [
        pytest.approx((share, share)) for share in (1.0, 0.7, 1.0, 0.9)
    ]


def test_retention_and_the_ratio_to_the_full_teacher_are_averaged_separately():
    collections = [
        CollectionResults(cell_rows(name, "int8", retention=retention, of_full=of_full), numpy.full((2, 5), 0.5))
        for name, retention, of_full in (("one", 0.9, 0.5), ("two", 0.7, 0.1))
    ]
    student = means_over(collections, seed=0)[0].rows[1]
    assert (student.retention, student.of_full) == pytest.approx((0.8, 0.3))
