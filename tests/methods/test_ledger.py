"""The ledger repeats what the result file of each method says, and the manual page what its docstring says."""

import json
import re

import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.methods.ledger import BASELINES, VERDICTS, ledger_row, read_ledger
from leafkit.methods.manual import field_meaning, manual_page
from leafkit.methods.registry import field_types, method_class, method_folders

RESULT = {
    "system": "leaf",
    "baseline": "lab-retrieval",
    "task": "retrieval",
    "metric": "nDCG@10",
    "verdict": "beats",
    "difference": {"mean": 0.02, "low": 0.01, "high": 0.03},
    "seeds": [0, 1],
    "command": "leafkit compare --recipe lab-retrieval --recipe leaf",
}
PLAIN = "plain LEAF on the same texts for as many steps"
RESULT_FILES = [file for file in VERDICTS.glob("*.json") if file != BASELINES]


@pytest.fixture
def measured(tmp_path):
    """A folder of results in which one method beats its baseline, and the name of that method."""
    name = next(name for name, folder in method_folders().items() if folder != "probes" and name != "leaf")
    (tmp_path / f"{name}.json").write_text(json.dumps(RESULT | {"system": name}))
    return tmp_path, name


def test_every_result_file_belongs_to_a_method():
    assert {file.stem for file in RESULT_FILES} <= set(method_folders())


def test_every_baseline_of_a_result_file_is_explained():
    explained = json.loads(BASELINES.read_text())
    assert {json.loads(file.read_text())["baseline"] for file in RESULT_FILES} == set(explained)
    assert all("LEAF" in words for words in explained.values())


def test_every_method_has_a_row_with_its_paper(tmp_path):
    rows = read_ledger(tmp_path)
    assert [row.name for row in rows] == list(method_folders())
    assert all(row.paper.startswith("https://") for row in rows)
    assert {row.verdict for row in rows if row.name != "leaf"} == {"not measured"}
    assert {row.summary for row in rows if row.name != "leaf"} == {"not measured"}
    assert ledger_row("leaf", tmp_path).verdict == "baseline"


def test_a_row_repeats_the_result_file(measured):
    folder, name = measured
    row = ledger_row(name, folder)
    assert (row.verdict, row.difference) == ("beats", "+0.0200 [+0.0100, +0.0300]")
    assert row.to_json()["baseline"] == "lab-retrieval"


def test_a_summary_says_what_the_method_was_compared_with(measured):
    folder, name = measured
    assert ledger_row(name, folder).summary == (
        "beats: +0.0200 [+0.0100, +0.0300] nDCG@10 (retrieval) over 2 seeds, "
        f"compared with {PLAIN} (recipe lab-retrieval)"
    )


def test_a_baseline_without_an_explanation_is_named_by_its_recipe(tmp_path):
    (tmp_path / "leaf.json").write_text(json.dumps(RESULT | {"baseline": "mine"}))
    assert ledger_row("leaf", tmp_path).compared_with == "mine"


def test_the_verdict_of_a_probe_is_that_it_watches(tmp_path):
    name = next(name for name, folder in method_folders().items() if folder == "probes")
    assert ledger_row(name, tmp_path).verdict == "not measured"
    (tmp_path / f"{name}.json").write_text(json.dumps(RESULT | {"system": name, "verdict": "ties"}))
    row = ledger_row(name, tmp_path)
    assert (row.verdict, row.difference, row.measure) == ("watches", "", "")


@pytest.mark.parametrize("text", ["{", "[]", '{"verdict": "ties"}', '{"system": "leaf", "verdict": null}'])
def test_a_damaged_result_is_named(tmp_path, text):
    (tmp_path / "leaf.json").write_text(text)
    with pytest.raises(DamageError, match=r"leaf\.json is not a result of leafkit compare.*Measure leaf again"):
        ledger_row("leaf", tmp_path)


def test_the_result_of_another_method_is_refused(tmp_path):
    (tmp_path / "leaf.json").write_text(json.dumps(RESULT | {"system": "other"}))
    with pytest.raises(DamageError, match="the file describes 'other'"):
        ledger_row("leaf", tmp_path)


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
