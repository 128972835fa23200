"""Reports of a whole grid on several collections, with figures that no two rows share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.report import Provenance, Report
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow, mean_or_none

HOSTILE = '<script>alert("x")</script> & $\\frac{}$ \x07'


def provenance(data, students):
    return Provenance(
        command=f"leafkit evaluate --student {' '.join(students)}",
        leafkit="1.0",
        commit="abcdef012345",
        space={"id": "0123456789ab", "teacher": "the-teacher", "dim": 64},
        students={student: f"{number:064d}" for number, student in enumerate(students)},
        encoder="torch",
        data=[{"name": name, "source": f"beir/{name}", "split": "test", "sha256": f"{name:>064}"} for name in data],
        seed=7,
        resamples=2000,
        packages={"numpy": "2.0"},
        libraries={"search": "FAISS, exhaustive"},
    )


def make_report(data, students, dims=(64, 16), precisions=("float32", "int8")):
    rows = []
    for name in data:
        for dim in dims:
            for precision in precisions:
                for mode, student in [
                    ("teacher", None),
                    *((m, s) for s in students for m in ("standard", "asymmetric")),
                ]:
                    value = 0.9 - 0.00037 * len(rows)
                    rows.append(_row(name, mode, student, dim, precision, value))
    each = len(rows) // len(data)
    means = tuple(_mean(rows[at::each]) for at in range(each))
    return Report(
        rows=tuple(rows),
        means=(CollectionMeans(collections=tuple(data), rows=means),) if len(data) > 1 else (),
        provenance=provenance(data, students),
    )


def _row(data, mode, student, dim, precision, value):
    teacher = mode == "teacher"
    return ResultRow(
        data=data,
        mode=mode,
        student=student,
        dim=dim,
        precision=precision,
        metrics={"ndcg@10": value, "recall@10": value / 2},
        main="ndcg@10",
        interval=Interval(value - 0.05, value + 0.05),
        retention=1.0 if teacher else value,
        retention_interval=Interval(1.0, 1.0) if teacher else Interval(value - 0.03, value + 0.03),
        of_full=value,
        queries=30,
        documents=200,
    )


def _mean(rows):
    value = mean_or_none([row.metrics["ndcg@10"] for row in rows])
    return replace(_row("", rows[0].mode, rows[0].student, rows[0].dim, rows[0].precision, value), data="mean")


@pytest.fixture(scope="session")
def hostile():
    """A student and a collection whose names are markup, mathematics and a control character."""
    return HOSTILE


@pytest.fixture(scope="session")
def report():
    """Two students on two collections in a grid of four cells."""
    return make_report(["scifact", "nfcorpus"], ["small", "smaller"])


@pytest.fixture(scope="session")
def learnt():
    """Puts curves of students into a report; ``smaller`` was never trained, and is a point alone, unless it is one."""

    def put(report, *students):
        points = [(0, 0.0, 0.5), (32_000, 410.5, 0.8), (200_000, 2600.0, 0.95)]
        curve = tuple(
            CurvePoint(step=examples // 32, examples=examples, seconds=seconds, cosine=cosine, overlap_at_10=0.5)
            for examples, seconds, cosine in points
        )
        return replace(report, curves={"smaller": curve[:1]} | dict.fromkeys(students, curve))

    return put


@pytest.fixture(scope="session")
def build():
    """Makes a report of given collections and students."""
    return make_report
