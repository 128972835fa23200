"""leafkit evaluate --report: refused before anything is measured, or written as a whole."""

from __future__ import annotations

import json
import sys

import pytest

from leafkit.evaluation.page.build import page
from leafkit.evaluation.report import Report


@pytest.fixture(scope="module")
def judgements(tmp_path_factory, sentences):
    """Fifty documents, five of which a query asks for."""
    folder = tmp_path_factory.mktemp("judged") / "tiny"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"d{i}", "text": text} for i, text in enumerate(sentences[:50])]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = [{"_id": f"q{i}", "text": sentences[i][:-2]} for i in range(5)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    qrels = "".join(f"q{i}\td{i}\t1\n" for i in range(5))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    return folder


def test_the_page_shows_what_was_printed(run, judgements, tiny_teacher, tmp_path):
    (tmp_path / "report.html").write_text("an older report")
    options = ["--data", judgements, "--teacher", tiny_teacher, "--documents", "20", "--precisions", "float32,int8"]
    code, out, _ = run("evaluate", *options, "--report", "report.html", "--json")
    assert code == 0
    printed = Report.from_json(json.loads(out))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page([printed])
    assert [row.documents for row in printed.rows] == [20, 20]
    assert printed.provenance.data[0]["documents"] == "20 of 50"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_opened(run, judgements, monkeypatch):
    options = ["evaluate", "--data", judgements, "--teacher", "no-such-teacher", "--report"]
    code, out, err = run(*options, "absent/report.html")
    assert (code, out) == (1, "")
    assert "the folder absent is missing. Create it" in err
    assert "is a folder; expected a file. Name a file in it" in run(*options, ".")[2]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'leafkit[eval]'" in run(*options, "report.html")[2]


def test_an_older_page_survives_an_evaluation_that_fails(run, judgements, tiny_teacher, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("an older report")

    def fail(reports):
        raise OSError("disk on fire")

    monkeypatch.setattr("leafkit.evaluation.page.build.page", fail)
    code, _, err = run("evaluate", "--data", judgements, "--teacher", tiny_teacher, "--report", "report.html")
    assert code == 70
    assert "internal error: OSError: disk on fire" in err
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "an older report"
