from __future__ import annotations

from dataclasses import replace

import pytest

from leafkit.evaluation.page.section_content import Series, sections
from leafkit.evaluation.report import Report


def rows_of(rows, mode):
    """Those of the first student in the widest cell."""
    wanted = (mode, "small", 64, "float32")
    return [row for row in rows if (row.mode, row.student, row.dim, row.precision) == wanted]


def test_a_headline_is_the_mean_in_the_widest_cell(report):
    (section,) = sections([report])
    assert section.cell == (64, "float32")
    kept = section.retention_of(Series("asymmetric", "small"))
    (mean,) = rows_of(report.means[0].rows, "asymmetric")
    assert (kept.retention, kept.interval) == (mean.retention, mean.retention_interval)
    assert kept.over == ("scifact", "nfcorpus")


def test_of_one_collection_it_is_its_own_and_without_means_their_average(build, report):
    (alone,) = sections([build(["scifact"], ["small"])])
    row = alone.rows[1]
    assert alone.retention_of(Series("standard", "small")).interval == row.retention_interval
    (old,) = sections([replace(report, means=())])
    rows = rows_of(report.rows, "standard")
    kept = old.retention_of(Series("standard", "small"))
    assert kept.retention == pytest.approx(sum(row.retention for row in rows) / 2)
    assert (kept.interval, kept.over) == (None, ("scifact", "nfcorpus"))


def test_a_student_measured_without_its_teacher_keeps_nothing_known(build):
    report = build(["scifact"], ["small"])
    (section,) = sections([replace(report, rows=tuple(replace(row, retention=None) for row in report.rows))])
    assert section.retention_of(Series("standard", "small")) is None


def split(report, student):
    """What a run with this student alone would have reported."""
    keep = (None, student)
    (found,) = report.means
    means = (replace(found, rows=tuple(row for row in found.rows if row.student in keep)),)
    provenance = replace(report.provenance, students={student: report.provenance.students[student]}, command=student)
    return Report(rows=tuple(row for row in report.rows if row.student in keep), means=means, provenance=provenance)


def test_reports_on_the_same_data_become_one_section(report):
    (whole,) = sections([report])
    (joined,) = sections([split(report, "small"), split(report, "smaller")])
    assert sorted(joined.rows, key=repr) == sorted(whole.rows, key=repr)
    assert sorted(joined.means[0].rows, key=repr) == sorted(whole.means[0].rows, key=repr)
    assert [source.command for source in joined.sources] == ["small", "smaller"]


def test_collections_measured_one_by_one_become_one_section(build):
    (joined,) = sections([build(["scifact"], ["small"]), build(["nfcorpus"], ["small"])])
    assert list(dict.fromkeys(row.data for row in joined.rows)) == ["scifact", "nfcorpus"]


def test_a_report_twice_is_one(report):
    (section,) = sections([report, report])
    assert section.rows == report.rows


@pytest.mark.parametrize(
    "changed",
    [
        {"space": {"id": "another"}},
        {"encoder": "onnx-int8"},
        {"students": {"small": "another"}},
        {"data": [{"name": "scifact", "split": "dev"}]},
    ],
)
def test_what_comes_from_elsewhere_stands_apart(report, changed):
    assert len(sections([report, replace(report, provenance=replace(report.provenance, **changed))])) == 2


def test_figures_that_contradict_stand_apart(report):
    other = replace(report.rows[3], retention=0.123)
    assert len(sections([report, replace(report, rows=(other,))])) == 2
