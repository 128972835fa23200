"""What a query costs with each student of an index."""

import json

import pytest

from eval import ladder as measured


def test_each_effort_is_timed_with_its_own_student(ladder, exported, tmp_path, capsys):
    (tmp_path / "queries.txt").write_text("copy a file\ngit commit\nkill a process\n")
    measured.main([str(ladder), "--queries", str(tmp_path / "queries.txt"), "--rounds", "2", "--json"])
    report = json.loads(capsys.readouterr().out)
    table, full = report["rows"]
    assert (table["effort"], full["effort"]) == ("table", "full")
    assert report["queries"] == 3
    assert table["encoder"] != full["encoder"] == exported.name
    for row in report["rows"]:
        assert 0 < row["encode, us"] < row["search, us"] < 1e6


def test_the_least_of_the_rounds_counts(ladder, monkeypatch):
    medians = iter([30.0, 40, 10, 20, 5, 50, 11, 19])
    monkeypatch.setattr(measured, "_median", lambda step, queries: next(medians))
    rows = measured.measure(ladder, None, ["a"], rounds=2, k=3)
    assert [(row["encode, us"], row["search, us"]) for row in rows] == [(5, 40), (10, 19)]


def test_a_folder_that_is_no_index_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        measured.main([str(tmp_path)])
    assert "is not an index" in capsys.readouterr().err
