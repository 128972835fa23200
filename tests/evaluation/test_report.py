from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.errors import InputError
from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.provenance import Provenance
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow

ROOT = Path(__file__).resolve().parents[2]

PROVENANCE = Provenance(
    command="leafkit evaluate",
    leafkit="1.0",
    commit="abc",
    space={"id": "0123456789ab"},
    students={},
    encoder="torch",
    data=[{"name": "tiny", "sha256": "1"}],
    seed=7,
    resamples=2000,
    packages={},
    libraries={},
)


def row(**fields):
    base = {
        "data": "tiny",
        "mode": "teacher",
        "student": None,
        "dim": 8,
        "precision": "float32",
        "metrics": {"ndcg@10": 0.5, "recall@10": 0.25, "recall@100": 0.75, "mrr@10": 0.5, "map": 0.125},
        "main": "ndcg@10",
        "interval": Interval(0.4, 0.6),
        "retention": 1.0,
        "of_full": 1.0,
        "queries": 3,
        "documents": 9,
    }
    return ResultRow(**(base | fields))


def lines(*rows):
    return [line.split() for line in Report(rows=rows, provenance=PROVENANCE).table().splitlines()]


def test_the_table_has_a_column_for_each_metric_and_retention_in_per_cent():
    table = Report(rows=(row(retention=0.875, retention_interval=Interval(0.8, 0.95)),), provenance=PROVENANCE).table()
    title, values = table.splitlines()[:2]
    assert title.split("  ")[0] == "data"
    for name, value in {
        "nDCG@10": "0.5000 [0.4000, 0.6000]",
        "MAP": "0.1250",
        "retention": "87.5% [80.0, 95.0]",
    }.items():
        at = title.index(name)
        assert values[at : at + len(value)] == value


def test_columns_without_values_are_omitted():
    title = lines(row(retention=None, of_full=None))[0]
    assert "student" not in title
    assert "BEIR" not in title
    assert "retention" not in title
    assert "student" in lines(row(student="s"))[0]


def test_the_column_of_the_full_teacher_needs_several_cells():
    assert "full" not in lines(row())[0]
    assert "full" in lines(row(), row(dim=4))[0]


def test_retention_and_the_ratio_to_the_full_teacher_are_different_columns():
    title, values, _ = (
        Report(
            rows=(row(retention=0.875, of_full=0.625), row(dim=4, retention=1.0, of_full=1.0)), provenance=PROVENANCE
        )
        .table()
        .splitlines()[:3]
    )
    for name, value in {"retention": "87.5%", "of full teacher": "62.5%"}.items():
        assert values[title.index(name) :].startswith(value)


def test_rows_with_other_metrics_start_a_new_block():
    blocks = Report(rows=(row(), row(metrics={"accuracy": 0.5}, main="accuracy")), provenance=PROVENANCE).table()
    first, second, _ = blocks.split("\n\n")
    assert "nDCG@10" in first
    assert "accuracy" not in first
    assert "accuracy" in second


def test_the_table_ends_with_seed_space_and_code():
    assert (
        "resamples, seed 7]; space 0123456789ab, leafkit 1.0 (abc)"
        in Report(rows=(row(),), provenance=PROVENANCE).table()
    )


def test_a_report_without_rows_has_a_table():
    assert "space" in Report(rows=(), provenance=PROVENANCE).table()


def test_json_keeps_every_figure():
    report = Report(rows=(row(),), provenance=PROVENANCE)
    back = json.loads(json.dumps(report.to_json()))
    assert back["rows"][0]["interval"] == {"low": 0.4, "high": 0.6}
    assert back["rows"][0]["metrics"]["map"] == 0.125
    assert back["provenance"]["seed"] == 7


def test_nan_becomes_null_in_json():
    report = Report(
        rows=(row(metrics={"cosine_spearman": float("nan")}, main="cosine_spearman"),), provenance=PROVENANCE
    )
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["rows"][0]["metrics"] == {"cosine_spearman": None}


@pytest.mark.parametrize("means", [(), (CollectionMeans(collections=("a", "b"), rows=(row(data="mean"),)),)])
def test_a_report_comes_back_from_its_json(means):
    other = row(metrics={"accuracy": 0.5}, main="accuracy", interval=None, retention=None, queries=None)
    report = Report(rows=(row(retention_interval=Interval(0.5, 1.5)), other), means=means, provenance=PROVENANCE)
    assert Report.from_json(json.loads(json.dumps(report.to_json()))) == report


finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(max_size=8)
intervals = st.none() | st.builds(Interval, finite, finite)
counts = st.none() | st.integers(0, 10**9)
any_row = st.builds(
    ResultRow,
    data=names,
    mode=names,
    student=st.none() | names,
    dim=counts,
    precision=st.none() | names,
    metrics=st.dictionaries(names, finite, min_size=1, max_size=3),
    main=names,
    interval=intervals,
    retention=st.none() | finite,
    retention_interval=intervals,
    of_full=st.none() | finite,
    of_full_interval=intervals,
    beir_ndcg=st.none() | finite,
    queries=counts,
    documents=counts,
)
any_rows = st.lists(any_row, max_size=3).map(tuple)
any_means = st.builds(CollectionMeans, collections=st.lists(names, max_size=2).map(tuple), rows=any_rows)
points = st.builds(
    CurvePoint, step=st.integers(), examples=st.integers(), seconds=finite, cosine=finite, overlap_at_10=finite
)
any_report = st.builds(
    Report,
    rows=any_rows,
    provenance=st.just(PROVENANCE),
    means=st.lists(any_means, max_size=2).map(tuple),
    curves=st.dictionaries(names, st.lists(points, max_size=2).map(tuple), max_size=2),
)


@settings(max_examples=50, deadline=None)
@given(any_report)
def test_any_report_equals_the_one_read_from_its_json(report):
    assert Report.from_json(json.loads(json.dumps(report.to_json(), allow_nan=False))) == report


def test_a_null_metric_is_read_as_nan():
    report = Report(rows=(row(metrics={"cosine_spearman": float("nan")}, main="x"),), provenance=PROVENANCE)
    (back,) = Report.from_json(report.to_json()).rows
    assert math.isnan(back.metrics["cosine_spearman"])
    assert "nan" in Report.from_json(report.to_json()).table()


def test_older_reports_without_means_and_curves_are_read():
    content = Report(rows=(row(),), provenance=PROVENANCE).to_json()
    del content["means"], content["curves"]
    back = Report.from_json(content)
    assert (back.means, back.curves) == ((), {})


def test_the_committed_results_are_reports():
    paths = sorted((ROOT / "eval" / "results").glob("*.json"))
    assert paths
    for path in paths:
        report = Report.from_json(json.loads(path.read_text()))
        assert report.rows
        assert report.table()


@pytest.mark.parametrize("content", [{}, [], "x", {"rows": []}, {"rows": [{"x": 1}], "provenance": {}}, {"rows": 3}])
def test_json_that_is_not_a_report_is_refused(content):
    with pytest.raises(InputError, match=r"invalid report .*expected the JSON printed by `leafkit evaluate --json`"):
        Report.from_json(content)


def test_means_are_the_last_block_of_the_table():
    means = CollectionMeans(collections=("a", "b"), rows=(row(data="mean over 2 collections", retention=0.75),))
    table = Report(rows=(row(),), means=(means,), provenance=PROVENANCE).table()
    first, last, _ = table.split("\n\n")
    assert first.startswith("data  mode")
    assert last.splitlines()[1].startswith("mean over 2 collections  teacher")
    assert "75.0%" in last


def test_a_report_cannot_be_changed():
    with pytest.raises(AttributeError):
        row().mode = "student"
