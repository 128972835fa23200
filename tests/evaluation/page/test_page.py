"""The page as an HTML parser reads it: it holds every figure, escapes every name and requests nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from leafkit.errors import MissingExtraError, OutputError
from leafkit.evaluation.page.build import check_page, page
from leafkit.evaluation.report import Report

VOID = {"meta"}
POINTERS = {"src", "srcset", "href", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """The tables (as lists of lines of cells), attributes, tags and the text outside the style sheet."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.attributes, self.tags, self.text, self._open = [], [], [], "", []
        self.feed(text)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data

    def table(self, *titles):
        return next(table for table in self.tables if table[0][: len(titles)] == list(titles))


@pytest.fixture(scope="module")
def html(report):
    """The page of the report, drawn once."""
    return page([report])


@pytest.fixture(scope="module")
def read(html):
    return Page(html)


def numbers(cell):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", cell)]


def test_tables_hold_the_figures_of_every_row(report, read):
    tables = [table for table in read.tables if "nDCG@10" in table[0]]
    assert len(tables) == 2
    for (titles, *lines), rows in zip(tables, [report.means[0].rows, report.rows], strict=True):
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            cells = dict(zip(titles, line, strict=True))
            assert (cells["data"], cells["mode"], cells["student"]) == (row.data, row.mode, row.student or "-")
            assert (int(cells["dim"]), cells["precision"]) == (row.dim, row.precision)
            span, kept = row.interval, row.retention_interval
            expected = [row.metrics["ndcg@10"], span.low, span.high]
            assert numbers(cells["nDCG@10"]) == [round(value, 4) for value in expected]
            assert numbers(cells["recall@10"]) == [round(row.metrics["recall@10"], 4)]
            expected = [row.retention, kept.low, kept.high]
            assert numbers(cells["retention"]) == pytest.approx([100 * value for value in expected], abs=0.0501)
            assert numbers(cells["of full teacher"]) == pytest.approx([100 * row.of_full], abs=0.0501)
            assert (int(cells["queries"]), int(cells["documents"])) == (row.queries, row.documents)


def test_the_headline_is_the_mean_retention_with_its_interval(report, read):
    mean = next(row for row in report.means[0].rows if row.mode == "asymmetric")
    low, high = mean.retention_interval.low * 100, mean.retention_interval.high * 100
    assert "small, smaller: distilled from the-teacher" in read.text
    assert f"{mean.retention:.1%}[{low:.1f}, {high:.1f}] over scifact, nfcorpus" in read.text


def test_heat_tables_hold_the_mean_retention_of_every_cell(report, read):
    heats = [table for table in read.tables if table[0][0] == "dim"]
    assert len(heats) == 5  # the teacher, and two students in two modes
    rows = [row for row in report.rows if (row.mode, row.student) == ("standard", "small")]
    teacher = [row.of_full for row in report.rows if (row.mode, row.dim, row.precision) == ("teacher", 16, "int8")]
    assert heats[0][2] == ["16", heats[0][2][1], f"{sum(teacher) / 2:.1%}"]
    for dim, *cells in heats[1][1:]:
        for precision, cell in zip(heats[1][0][1:], cells, strict=True):
            expected = [row.retention for row in rows if (str(row.dim), row.precision) == (dim, precision)]
            assert cell == f"{sum(expected) / len(expected):.1%}"


def test_a_grid_is_plotted_for_each_collection_and_retentions_as_bars_once(read, make):
    assert read.tags.count("svg") == 3
    one_cell = make(["scifact"], ["small"], dims=[64], precisions=["float32"])
    assert Page(page([one_cell])).tags.count("svg") == 1
    assert Page(page([make(["scifact"], [], dims=[64], precisions=["float32"])])).tags.count("svg") == 0


def test_learning_curves_are_plotted_over_examples_and_over_seconds(report, add_curves):
    html = page([add_curves(report, "small")])
    read = Page(html)
    assert read.tags.count("svg") == 3 + 2
    labels = [value for _, name, value in read.attributes if name == "aria-label"]
    assert {"held-out cosine by examples", "held-out cosine by seconds"} <= set(labels)
    assert "Learning curves" in read.text
    keys = re.findall(r"</span>([^<]*)</li></ul><div class=\"plots\"><figure><svg", html)
    assert keys[-1] == "small", "a single validation is not plotted"


def test_curves_of_students_without_rows_are_not_plotted(report, add_curves):
    for without in (add_curves(report), add_curves(report, "absent")):
        assert "Learning curves" not in page([without])


def test_plot_ids_are_unique_and_bars_show_their_figures(report, read):
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    uses = [value for _, name, value in read.attributes if name == "href"]
    assert set(uses) <= {f"#{one}" for one in ids}
    for row in report.rows:
        if row.student and (row.dim, row.precision) == (64, "float32"):
            span = row.retention_interval
            assert f"{row.retention:.1%}  [{span.low * 100:.1f}, {span.high * 100:.1f}]" in read.text


def test_the_whole_provenance_is_shown(report, read):
    source = report.provenance
    for expected in (
        source.command,
        source.commit,
        *source.students.values(),
        "seed 7",
        "numpy 2.0",
        "FAISS, exhaustive",
    ):
        assert expected in read.text
    assert read.table("name")[1:] == [list(one.values()) for one in source.data]


def outside(text):
    """Everything in the page that would make a browser load something."""
    read = Page(text)
    foreign = [one for one in read.attributes if re.search(r"//|\bfile:|\bdata:", one[2] or "")]
    pointing = [one for one in read.attributes if one[1] in POINTERS]
    urls = re.findall(r"url\((?!#)|@import", text)
    return foreign + [one for one in pointing if not one[2].startswith("#")] + urls


def test_the_page_refers_to_nothing_outside(html, read):
    assert outside(html) == []
    assert outside('<p><img src="a.png"></img></p>'), "the check can fail"
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(read.tags)


def test_hostile_names_are_escaped_everywhere(make, hostile):
    text = page([make([hostile, "other"], [hostile])])
    read = Page(text)
    assert "script" not in read.tags
    assert outside(text) == []
    assert text.count("<script") == 0
    assert read.tables[-2][1][0] == hostile
    assert "\N{REPLACEMENT CHARACTER}" in page([make(["\x07"], ["s"])])


def test_a_report_read_from_json_gives_the_same_page(report, add_curves):
    for one in (report, add_curves(report, "small", "smaller")):
        assert page([one]) == page([Report.from_json(json.loads(json.dumps(one.to_json())))])


def test_a_report_without_vectors_or_without_rows_has_a_page(report):
    bm25 = replace(report.rows[0], mode="bm25", dim=None, precision=None, retention=None, retention_interval=None)
    for rows in ((bm25,), ()):
        read = Page(page([replace(report, rows=rows, means=())]))
        assert read.tags.count("svg") == 0
        assert "Where the figures come from" in read.text


def test_rows_fused_with_bm25_are_in_the_tables_and_in_no_plot(report):
    fused = replace(report.rows[-1], mode=f"{report.rows[-1].mode}+bm25")
    before, after = (Page(page([replace(report, rows=rows)])) for rows in (report.rows, (*report.rows, fused)))
    assert after.text.count("+bm25") > before.text.count("+bm25") == 0
    assert after.tags.count("svg") == before.tags.count("svg")
    assert after.tags.count("path") == before.tags.count("path")


def test_several_reports_are_sections_of_one_page(report, make):
    other = make(["tiny"], ["third"])
    other = replace(other, provenance=replace(other.provenance, space={"id": "x", "teacher": "another-teacher"}))
    read = Page(page([report, other]))
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "third: distilled from another-teacher" in read.text
    assert "smaller: distilled from the-teacher" in read.text


def test_an_invalid_output_path_is_refused(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"cannot create .*report\.html: the folder .*absent is missing"):
        check_page(tmp_path / "absent" / "report.html")
    with pytest.raises(OutputError, match=r"is a folder; expected a file\. Name a file in it"):
        check_page(tmp_path)
    check_page(tmp_path / "report.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"needs matplotlib.*leafkit\[eval\]"):
        check_page(tmp_path / "report.html")


def test_the_users_matplotlib_settings_are_ignored(report, html):
    import matplotlib

    with matplotlib.rc_context({"axes.titlesize": 40, "font.size": 3, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert page([report]) == html


def test_matplotlib_is_imported_only_to_draw_a_page():
    program = (
        "import leafkit.evaluation.evaluate, leafkit.evaluation.page.build, sys; print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"
