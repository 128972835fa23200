from __future__ import annotations

from dataclasses import replace

import pytest

from leafkit.evaluation.page.section_content import SectionContent, Series


def rows_of(rows, mode):
    """The rows of the first student in the widest cell."""
    expected = (mode, "small", 64, "float32")
    return [row for row in rows if (row.mode, row.student, row.dim, row.precision) == expected]


def test_the_retention_is_the_mean_in_the_widest_cell(report):
    section = SectionContent.of(report)
    assert section.cell == (64, "float32")
    retention = section.retention_of(Series("asymmetric", "small"))
    (mean,) = rows_of(report.means[0].rows, "asymmetric")
    assert (retention.value, retention.interval) == (mean.retention, mean.retention_interval)
    assert retention.collections == ("scifact", "nfcorpus")


def test_the_retention_on_one_collection_is_that_of_its_row(make):
    section = SectionContent.of(make(["scifact"], ["small"]))
    (row,) = rows_of(section.rows, "standard")
    retention = section.retention_of(Series("standard", "small"))
    assert (retention.value, retention.interval) == (row.retention, row.retention_interval)
    assert retention.collections == ("scifact",)


def test_without_means_the_retentions_of_the_collections_are_averaged(report):
    retention = SectionContent.of(replace(report, means=())).retention_of(Series("standard", "small"))
    rows = rows_of(report.rows, "standard")
    assert retention.value == pytest.approx(sum(row.retention for row in rows) / 2)
    assert (retention.interval, retention.collections) == (None, ("scifact", "nfcorpus"))


def test_without_a_teacher_the_retention_is_unknown(make):
    report = make(["scifact"], ["small"])
    section = SectionContent.of(replace(report, rows=tuple(replace(row, retention=None) for row in report.rows)))
    assert section.retention_of(Series("standard", "small")) is None


def test_the_mean_over_most_collections_is_used(report):
    (means,) = report.means
    fewer = replace(means, collections=("scifact",), rows=tuple(replace(row, retention=0.1) for row in means.rows))
    section = SectionContent.of(replace(report, means=(fewer, means)))
    assert section.retention_of(Series("standard", "small")).collections == ("scifact", "nfcorpus")


def test_tasks_other_than_retrieval_do_not_enter_a_mean_beside_retrieval(make):
    report = make(["scifact"], ["small"])
    other = replace(rows_of(report.rows, "standard")[0], data="sts", main="cosine_spearman", retention=0.1)
    section = SectionContent.of(replace(report, rows=(*report.rows, other)))
    assert section.retention_of(Series("standard", "small")).collections == ("scifact",)
