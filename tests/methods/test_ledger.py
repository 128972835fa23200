"""The ledger repeats what the result file of each method says, and the manual page what its docstring says."""

import json
import re

import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.methods.ledger import BASELINES, STUDENTS, VERDICTS, Measured, ledger_row, read_ledger, read_result
from leafkit.methods.manual import field_meaning, manual_page
from leafkit.methods.registry import field_types, method_class, method_folders
from tests.fixtures.verdicts import verdict_row, write_result

RESULT_FILES = [file for file in VERDICTS.glob("*.json") if file != BASELINES]
HELPS = "helps, +0.0200 [+0.0100, +0.0300] mean nDCG@10 over 2 seeds"


def test_every_result_file_belongs_to_a_method_and_is_complete():
    assert {file.stem for file in RESULT_FILES} <= set(method_folders())
    for file in RESULT_FILES:
        for row in (read_result(file) or {"rows": {}})["rows"].values():
            assert row["student"]["kind"] in STUDENTS
            assert set(row["figures"]) >= {"mean nDCG@10", "cosine", "overlap@10", "STS-B", "accuracy"}


def test_every_method_has_a_row_with_its_paper(tmp_path):
    rows = read_ledger(tmp_path)
    assert [row.name for row in rows] == list(method_folders())
    assert all(row.paper.startswith("https://") for row in rows)
    by_folder = {row.folder: row.verdict for row in rows if row.name != "leaf"}
    assert by_folder.pop("probes") == "watches"
    assert set(by_folder.values()) == {"not measured"}
    assert ledger_row("leaf", tmp_path).verdict == "baseline"


def test_a_row_repeats_the_result_file(tmp_path):
    write_result(tmp_path, "sinkd")
    row = ledger_row("sinkd", tmp_path)
    assert row.measured.keys() == {"table"}
    one = row.measured["table"]
    assert (row.verdict, one.figure, one.compared_with) == ("helps", "mean nDCG@10", "plain LEAF")
    assert one.difference == "+0.0200 [+0.0100, +0.0300]"
    assert row.to_json()["students"]["table"]["difference"]["holm"] == 0.004
    assert row.to_json()["command"] == "python -m eval.screen run --only sinkd"


def test_verdicts_that_differ_name_their_students(tmp_path):
    rows = {"picked": verdict_row("picked", verdict="unresolved"), "table": verdict_row("table")}
    write_result(tmp_path, "sinkd", rows)
    assert ledger_row("sinkd", tmp_path).verdict == "unresolved (three layers of the teacher), helps (token table)"
    write_result(tmp_path, "taid", {student: verdict_row(student) for student in STUDENTS})
    assert ledger_row("taid", tmp_path).verdict == "helps"


def test_a_dose_of_another_kind_of_student_is_said_to_be_one():
    row = verdict_row("picked")
    assert Measured(row=row).dose == "pull 0.3"
    row["dose"] = row["dose"] | {"chosen_on": "table"}
    assert Measured(row=row).dose == "pull 0.3 (best for token table)"


def test_a_summary_says_what_the_method_was_compared_with_and_how_sure_it_is(tmp_path):
    write_result(tmp_path, "sinkd")
    assert ledger_row("sinkd", tmp_path).summary == (
        f"token table: {HELPS}, compared with plain LEAF (p = 0.004 after correction for 30 rows)"
    )


def test_a_probe_watches_whatever_was_measured(tmp_path):
    name = next(name for name, folder in method_folders().items() if folder == "probes")
    row = ledger_row(name, tmp_path)
    assert row.verdict == "watches"
    assert "changes nothing" in row.summary


def test_the_rows_of_leaf_itself_need_no_verdict(tmp_path):
    write_result(tmp_path, "leaf", {"table": {"figures": {}}})
    assert ledger_row("leaf", tmp_path).measured == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"verdict": "ties"}',
        '{"schema": 1, "system": "sinkd", "rows": {}}',
        '{"schema": 2, "system": "sinkd", "rows": {"table": {"verdict": "helps"}}}',
    ],
)
def test_a_damaged_result_is_named(tmp_path, text):
    (tmp_path / "sinkd.json").write_text(text)
    with pytest.raises(DamageError, match=r"sinkd\.json is not a result of the screen.*Measure sinkd again"):
        ledger_row("sinkd", tmp_path)


def test_the_result_of_another_method_is_refused(tmp_path):
    write_result(tmp_path, "sinkd", system="other")
    with pytest.raises(DamageError, match="the file describes 'other'"):
        ledger_row("sinkd", tmp_path)


@pytest.mark.parametrize("name", method_folders())
def test_every_method_has_a_complete_manual_page(name):
    page = manual_page(name)
    assert page["title"]
    assert page["description"]
    assert [field["name"] for field in page["fields"]] == list(field_types(method_class(name)))
    assert all(field["meaning"] for field in page["fields"])
    assert "Paper:" not in page["equations"]
    assert page["paper"] in page["citation"]
    json.dumps(page)


def test_the_meaning_of_a_field_follows_its_name_alone_or_among_others():
    class Example(method_class("leaf")):
        """What the method does.

        ``weight``: multiplies the loss,
        over two lines. ``alpha``, ``beta``: both of them.
        ``gamma``: ``weight`` times more. Rest.

        ``delta`` is a share, 0 to 1; no more.
        """

    assert field_meaning(Example, "weight") == "multiplies the loss, over two lines."
    assert field_meaning(Example, "alpha") == field_meaning(Example, "beta") == "both of them."
    assert field_meaning(Example, "gamma") == "``weight`` times more. Rest."
    assert field_meaning(Example, "delta") == "a share, 0 to 1"
    assert field_meaning(Example, "epsilon") == ""


def test_a_field_inherits_the_meaning_from_the_base_class():
    assert field_meaning(method_class("leaf"), "weight") == "multiplies the losses of the method."


def test_the_citation_contains_the_arxiv_number():
    assert re.search(r"eprint = \{2509\.12539\}", manual_page("leaf")["citation"])


def test_an_unknown_method_is_answered_with_the_nearest_name():
    with pytest.raises(OptionError, match="did you mean 'leaf'"):
        manual_page("leav")
