"""The page as a parser reads it: every figure is there, no name is markup, and nothing is asked of anyone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eval.page import main
from leafkit.errors import MissingExtraError, OutputError
from leafkit.evaluation.page.build import check_page, page
from leafkit.evaluation.report import Report

RESULTS = sorted((Path(__file__).resolve().parents[3] / "eval" / "results").glob("*.json"))
VOID = {"meta"}
POINTERS = {"src", "srcset", "href", "action", "data", "poster", "xlink:href"}


class Page(HTMLParser):
    """Tables as lists of lines of cells, all attributes, the tags, and the text outside the style sheet."""

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


def numbers(cell):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", cell)]


def test_the_tables_hold_the_figures_of_every_row(report):
    read = Page(page([report]))
    tables = [table for table in read.tables if "nDCG@10" in table[0]]
    assert len(tables) == 2
    for (titles, *lines), rows in zip(tables, [report.means[0].rows, report.rows], strict=True):
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            cells = dict(zip(titles, line, strict=True))
            assert (cells["data"], cells["mode"], cells["student"]) == (row.data, row.mode, row.student or "-")
            assert (int(cells["dim"]), cells["precision"]) == (row.dim, row.precision)
            span, kept = row.interval, row.retention_interval
            wanted = [row.metrics["ndcg@10"], span.low, span.high]
            assert numbers(cells["nDCG@10"]) == [round(value, 4) for value in wanted]
            assert numbers(cells["recall@10"]) == [round(row.metrics["recall@10"], 4)]
            wanted = [row.retention, kept.low, kept.high]
            assert numbers(cells["retention"]) == pytest.approx([100 * value for value in wanted], abs=0.0501)
            assert (int(cells["queries"]), int(cells["documents"])) == (row.queries, row.documents)


def test_the_headline_is_the_mean_with_its_interval(report):
    read = Page(page([report]))
    mean = next(row for row in report.means[0].rows if row.mode == "asymmetric")
    low, high = mean.retention_interval.low * 100, mean.retention_interval.high * 100
    assert "small, smaller: distilled from the-teacher" in read.text
    assert f"{mean.retention:.1%}[{low:.1f}, {high:.1f}] over scifact, nfcorpus" in read.text


def test_heat_tables_hold_the_mean_of_every_cell(report):
    read = Page(page([report]))
    heats = [table for table in read.tables if table[0][0] == "dim"]
    assert len(heats) == 5  # the teacher, and two students in two modes
    rows = [row for row in report.rows if (row.mode, row.student) == ("standard", "small")]
    for dim, *cells in heats[1][1:]:
        for precision, cell in zip(heats[1][0][1:], cells, strict=True):
            wanted = [row.retention for row in rows if (str(row.dim), row.precision) == (dim, precision)]
            assert cell == f"{sum(wanted) / len(wanted):.1%}"


def test_there_is_a_plot_for_every_collection_and_one_of_bars(report, build):
    assert Page(page([report])).tags.count("svg") == 3
    one_cell = build(["scifact"], ["small"], dims=[64], precisions=["float32"])
    assert Page(page([one_cell])).tags.count("svg") == 1
    assert Page(page([build(["scifact"], [], dims=[64], precisions=["float32"])])).tags.count("svg") == 0


def test_what_students_learnt_is_drawn_by_examples_and_by_seconds(report, build, learnt):
    read = Page(page([learnt(report, "small")]))
    assert read.tags.count("svg") == 3 + 2
    labels = [value for _, name, value in read.attributes if name == "aria-label"]
    assert {"held-out cosine by examples", "held-out cosine by seconds"} <= set(labels)
    assert "Learning curves" in read.text
    keys = re.findall(r"</span>([^<]*)</li></ul><div class=\"plots\"><figure><svg", page([learnt(report, "small")]))
    assert keys[-1] == "small", "one validation is no curve"
    others = learnt(build(["tiny"], ["third"], dims=[64], precisions=["float32"]), "third")
    together = Page(page([learnt(report, "small"), others]))
    assert together.tags.count("svg") == 3 + 1 + 2, "reports that agree share their curves"


def test_curves_of_students_that_were_not_measured_are_not_drawn(report, learnt):
    for without in (learnt(report), learnt(report, "absent")):
        assert "Learning curves" not in page([without])


def test_a_plot_draws_each_row_once_and_writes_its_bars_figures(report):
    read = Page(page([report]))
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    uses = [value for _, name, value in read.attributes if name == "href"]
    assert set(uses) <= {f"#{one}" for one in ids}
    for row in report.rows:
        if row.student and (row.dim, row.precision) == (64, "float32"):
            span = row.retention_interval
            assert f"{row.retention:.1%}  [{span.low * 100:.1f}, {span.high * 100:.1f}]" in read.text


def test_provenance_is_all_there(report):
    text = Page(page([report])).text
    source = report.provenance
    for wanted in (
        source.command,
        source.commit,
        *source.students.values(),
        "seed 7",
        "numpy 2.0",
        "FAISS, exhaustive",
    ):
        assert wanted in text
    assert Page(page([report])).table("name")[1:] == [list(one.values()) for one in source.data]


def outside(text):
    """Whatever would make a browser ask for something."""
    read = Page(text)
    foreign = [one for one in read.attributes if re.search(r"//|\bfile:|\bdata:", one[2] or "")]
    pointing = [one for one in read.attributes if one[1] in POINTERS]
    urls = re.findall(r"url\((?!#)|@import", text)
    return foreign + [one for one in pointing if not one[2].startswith("#")] + urls


def test_nothing_outside_the_page_is_named(report):
    assert outside(page([report])) == []
    assert outside('<p><img src="a.png"></img></p>'), "the check can fail"
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(Page(page([report])).tags)


def test_names_are_text_wherever_they_stand(build, hostile):
    text = page([build([hostile, "other"], [hostile])])
    read = Page(text)
    assert "script" not in read.tags
    assert outside(text) == []
    assert text.count("<script") == 0
    assert read.tables[-2][1][0] == hostile
    assert "\N{REPLACEMENT CHARACTER}" in page([build(["\x07"], ["s"])])


def test_the_same_report_is_the_same_page(report, learnt):
    for one in (report, learnt(report, "small", "smaller")):
        assert page([one]) == page([Report.from_json(json.loads(json.dumps(one.to_json())))])


def test_a_report_without_vectors_or_rows_is_still_a_page(report):
    bm25 = replace(report.rows[0], mode="bm25", dim=None, precision=None, retention=None, retention_interval=None)
    for rows in ((bm25,), ()):
        read = Page(page([replace(report, rows=rows, means=())]))
        assert read.tags.count("svg") == 0
        assert "Where the figures come from" in read.text


def test_several_reports_are_one_page(report, build):
    other = build(["tiny"], ["third"])
    other = replace(other, provenance=replace(other.provenance, space={"id": "x", "teacher": "another-teacher"}))
    read = Page(page([report, other]))
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert "third: distilled from another-teacher" in read.text
    assert "smaller: distilled from the-teacher" in read.text


def test_the_committed_results_become_one_page(tmp_path):
    main([*map(str, RESULTS), "--out", str(tmp_path / "page.html")])
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    for path in RESULTS:
        for row in json.loads(path.read_text())["rows"]:
            assert f"{row['metrics'][row['main']]:.4f}" in text


def test_what_is_no_result_is_named(tmp_path, capsys):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("[]")
    for name in ("broken.json", "other.json", "absent.json"):
        with pytest.raises(SystemExit, match="1"):
            main([str(tmp_path / name), "--out", str(tmp_path / "page.html")])
        assert re.match(rf"leafkit: .*{name}.*leafkit evaluate --json", capsys.readouterr().err)
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"there is no folder .*absent; create it, or name another"):
        check_page(tmp_path / "absent" / "report.html")
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        check_page(tmp_path)
    check_page(tmp_path / "report.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"needs matplotlib.*leafkit\[eval\]"):
        check_page(tmp_path / "report.html")


def test_the_settings_of_the_users_matplotlib_change_nothing(report):
    import matplotlib

    before = page([report])
    with matplotlib.rc_context({"axes.titlesize": 40, "font.size": 3, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert page([report]) == before


def test_matplotlib_is_loaded_for_a_page_alone():
    program = (
        "import leafkit.evaluation.evaluate, leafkit.evaluation.page.build, sys; print('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == "False"
