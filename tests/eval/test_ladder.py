"""What a query costs with each student of an index."""

import json

import pytest

from eval import ladder as measured
from leafkit.search.query_encoder import QueryEncoder
from tests.fixtures.packages import SPACE, drawn_vectors, index_vectors


def test_a_report_has_a_row_for_each_student(ladder, exported, tmp_path, capsys):
    (tmp_path / "queries.txt").write_text("copy a file\ngit commit\nkill a process\n")
    measured.main([str(ladder), "--queries", str(tmp_path / "queries.txt"), "--rounds", "2", "--json"])
    report = json.loads(capsys.readouterr().out)
    table, full = report["rows"]
    assert (table["effort"], full["effort"]) == ("table", "full")
    assert report["queries"] == 3
    assert table["encoder"] != full["encoder"] == exported.name
    assert min(row[name] for row in report["rows"] for name in ("encode, us", "search, us")) > 0


def test_each_effort_is_timed_with_its_own_student(ladder, monkeypatch):
    used, encode = [], QueryEncoder.encode

    def noted(self, *given, **options):
        used.append(id(self))
        return encode(self, *given, **options)

    def once(step, queries):
        step(queries[0])
        return 1.0

    monkeypatch.setattr(QueryEncoder, "encode", noted)
    monkeypatch.setattr(measured, "_median", once)
    measured.measure(ladder, None, ["copy a file"], rounds=1, k=3)
    table, *_, full = used
    assert used == [table, table, full, full]
    assert table != full


def test_the_least_of_the_rounds_counts(ladder, monkeypatch):
    medians = iter([30.0, 40, 10, 20, 5, 50, 11, 19])
    monkeypatch.setattr(measured, "_median", lambda step, queries: next(medians))
    rows = measured.measure(ladder, None, ["a"], rounds=2, k=3)
    assert [(row["encode, us"], row["search, us"]) for row in rows] == [(5, 40), (10, 19)]


def test_a_folder_that_is_no_index_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        measured.main([str(tmp_path)])
    assert "is not an index" in capsys.readouterr().err


def test_an_index_without_a_student_is_refused(tmp_path, capsys):
    index = index_vectors(["a"], drawn_vectors(1, 64), SPACE, tmp_path / "i")
    with pytest.raises(SystemExit):
        measured.main([str(index)])
    assert "has no student inside, and no teacher is given" in capsys.readouterr().err
