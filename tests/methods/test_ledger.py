"""The ledger says of every system what its result file says, and nothing where there is none."""

import json
import re

import pytest

from leafkit.errors import DamageError, OptionError
from leafkit.methods.ledger import VERDICTS, ledger_row, markdown_table, read_ledger
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


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A folder of results in which one of the systems beats its baseline, with that system's name."""
    name = next(name for name, folder in method_folders().items() if folder != "probes" and name != "leaf")
    (tmp_path / f"{name}.json").write_text(json.dumps(RESULT | {"system": name}))
    return tmp_path, name


def test_every_result_file_is_about_a_system():
    assert {file.stem for file in VERDICTS.glob("*.json")} <= set(method_folders())


def test_every_system_has_a_row_with_its_paper(tmp_path):
    rows = read_ledger(tmp_path)
    assert [one.name for one in rows] == list(method_folders())
    assert all(one.paper.startswith("https://") for one in rows)
    assert {one.verdict for one in rows if one.name != "leaf"} == {"not measured"}
    assert ledger_row("leaf", tmp_path).verdict == "baseline"


def test_a_row_says_what_the_result_file_says(measured):
    folder, name = measured
    found = ledger_row(name, folder)
    assert (found.verdict, found.difference) == ("beats", "+0.0200 [+0.0100, +0.0300]")
    assert found.to_json()["baseline"] == "lab-retrieval"
    line = next(line for line in markdown_table(read_ledger(folder)).splitlines() if line.startswith(f"| {name} |"))
    assert line.endswith("| retrieval | lab-retrieval | +0.0200 [+0.0100, +0.0300] | beats |")


def test_a_probe_is_measured_or_not(tmp_path):
    name = next((name for name, folder in method_folders().items() if folder == "probes"), None)
    if name is None:
        pytest.skip("there is no probe")
    assert ledger_row(name, tmp_path).verdict == "not measured"
    (tmp_path / f"{name}.json").write_text(json.dumps(RESULT | {"system": name, "verdict": "ties"}))
    assert ledger_row(name, tmp_path).verdict == "measured"


@pytest.mark.parametrize("text", ["{", "[]", '{"verdict": "ties"}', '{"system": "leaf", "verdict": null}'])
def test_a_damaged_result_is_named(tmp_path, text):
    (tmp_path / "leaf.json").write_text(text)
    with pytest.raises(DamageError, match=r"leaf\.json is no result of leafkit compare"):
        ledger_row("leaf", tmp_path)


def test_a_result_of_another_system_is_refused(tmp_path):
    (tmp_path / "leaf.json").write_text(json.dumps(RESULT | {"system": "other"}))
    with pytest.raises(DamageError, match="it is about 'other'"):
        ledger_row("leaf", tmp_path)


@pytest.mark.parametrize("name", method_folders())
def test_every_system_has_a_whole_manual_page(name):
    page = manual_page(name)
    assert page["title"]
    assert page["description"]
    assert [field["name"] for field in page["fields"]] == list(field_types(method_class(name)))
    assert "Paper:" not in page["equations"]
    assert page["paper"] in page["citation"]
    json.dumps(page)


def test_the_meaning_of_a_field_is_found_behind_its_name_alone_or_among_others():
    class Made(method_class("leaf")):
        """What it does.

        ``weight``: multiplies the loss,
        over two lines. ``alpha``, ``beta``: both of it.
        ``gamma``: ``weight`` times more. Rest.

        ``delta`` is a share, 0 to 1; no more.
        """

    assert field_meaning(Made, "weight") == "multiplies the loss, over two lines."
    assert field_meaning(Made, "alpha") == field_meaning(Made, "beta") == "both of it."
    assert field_meaning(Made, "gamma") == "``weight`` times more. Rest."
    assert field_meaning(Made, "delta") == "a share, 0 to 1"
    assert field_meaning(Made, "epsilon") == ""


def test_a_field_that_only_the_base_explains_is_explained():
    assert field_meaning(method_class("leaf"), "weight") == "multiplies the losses of the method."


def test_the_citation_has_arxivs_number():
    assert re.search(r"eprint = \{2509\.12539\}", manual_page("leaf")["citation"])


def test_an_unknown_system_is_answered_with_the_nearest():
    with pytest.raises(OptionError, match="did you mean 'leaf'"):
        manual_page("leav")
