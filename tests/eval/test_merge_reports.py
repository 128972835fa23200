"""Merging reports: reports that agree share a section, and a contradicting report gets one of its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from eval.merge_reports import merge_reports
from eval.page import main
from leafkit.evaluation.page.build import page_of_sections
from leafkit.evaluation.report import Report
from tests.fixtures.reports import add_curves, make, report

__all__ = ["add_curves", "make", "report"]

RESULTS = sorted((Path(__file__).resolve().parents[2] / "eval" / "results").glob("*.json"))


def only(report, student):
    """The report that an evaluation of this student alone would have made."""
    keep = (None, student)
    (found,) = report.means
    means = (replace(found, rows=tuple(row for row in found.rows if row.student in keep)),)
    provenance = replace(report.provenance, students={student: report.provenance.students[student]}, command=student)
    return Report(rows=tuple(row for row in report.rows if row.student in keep), means=means, provenance=provenance)


def test_reports_on_the_same_data_become_one_section(report):
    (whole,) = merge_reports([report])
    (merged,) = merge_reports([only(report, "small"), only(report, "smaller")])
    assert sorted(merged.rows, key=repr) == sorted(whole.rows, key=repr)
    assert sorted(merged.means[0].rows, key=repr) == sorted(whole.means[0].rows, key=repr)
    assert [source.command for source in merged.sources] == ["small", "smaller"]


def test_collections_measured_one_by_one_become_one_section(make):
    (merged,) = merge_reports([make(["scifact"], ["small"]), make(["nfcorpus"], ["small"])])
    assert list(dict.fromkeys(row.data for row in merged.rows)) == ["scifact", "nfcorpus"]


def test_a_repeated_report_adds_no_rows(report):
    (section,) = merge_reports([report, report])
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
def test_reports_about_other_models_or_data_are_not_merged(report, changed):
    assert len(merge_reports([report, replace(report, provenance=replace(report.provenance, **changed))])) == 2


def test_reports_with_contradicting_figures_are_not_merged(report):
    other = replace(report.rows[3], retention=0.123)
    assert len(merge_reports([report, replace(report, rows=(other,))])) == 2


def test_merged_reports_share_their_learning_curves(report, make, add_curves):
    other = make(["tiny"], ["third"], dims=[64], precisions=["float32"])
    sections = merge_reports([add_curves(report, "small"), add_curves(other, "third")])
    assert len(sections) == 1
    assert page_of_sections(sections).count("<svg") == 1 + 3 + 2, "retention bars, a grid plot per collection, curves"


def test_the_committed_results_become_one_page(tmp_path):
    main([*map(str, RESULTS), "--out", str(tmp_path / "page.html")])
    shown = set(re.findall(r">(\d\.\d{4})", (tmp_path / "page.html").read_text(encoding="utf-8")))
    for path in RESULTS:
        figures = {f"{row['metrics'][row['main']]:.4f}" for row in json.loads(path.read_text())["rows"]}
        assert figures <= shown, path


def test_a_file_without_a_report_is_named(tmp_path, capsys):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("[]")
    for name in ("broken.json", "other.json", "absent.json"):
        with pytest.raises(SystemExit, match="1"):
            main([str(tmp_path / name), "--out", str(tmp_path / "page.html")])
        assert re.match(rf"leafkit: .*{name}.*leafkit evaluate --json", capsys.readouterr().err)
    assert not (tmp_path / "page.html").exists()
