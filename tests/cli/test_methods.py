"""leafkit methods and leafkit compare as people type them."""

import inspect
import json
import re
import subprocess
import sys

import pytest

from leafkit.cli import compare as typed
from leafkit.evaluation.compare import run as function
from leafkit.methods.registry import method_folders
from tests.fixtures.verdicts import write_result


def test_every_method_is_listed_with_its_folder(run):
    code, out, _ = run("methods")
    assert code == 0
    titles, *lines = [re.split(r"  +", line) for line in out.splitlines()]
    facts = ["method", "folder", "needs", "paper"]
    assert titles == [*facts, "student", "verdict", "difference", "figure", "compared with"]
    assert {line[0]: line[1] for line in lines} == method_folders()


def test_a_verdict_stands_beside_what_the_method_was_compared_with(run, tmp_path, monkeypatch):
    write_result(tmp_path, "sinkd")
    monkeypatch.setattr("leafkit.methods.ledger.VERDICTS", tmp_path)
    out = run("methods")[1]
    (sinkd,) = [re.split(r"  +", line) for line in out.splitlines() if line.startswith("sinkd ")]
    assert sinkd[-5:] == ["token table", "helps", "+0.0200 [+0.0100, +0.0300]", "mean nDCG@10", "plain LEAF"]


def test_a_probe_has_no_difference(run):
    probes = [line for line in run("methods")[1].splitlines() if " probes " in line]
    assert probes
    assert all(line.endswith(" watches") and "+0.0000" not in line and "LEAF" not in line for line in probes)
    rows = json.loads(run("methods", "--json")[1])
    assert [row["students"] for row in rows if row["folder"] == "probes"] == [{}] * len(probes)
    assert "watches the training and changes nothing" in run("methods", "show", "fidelity")[1]


def test_the_list_as_json_has_the_verdict(run):
    rows = json.loads(run("methods", "--json")[1])
    assert next(row for row in rows if row["name"] == "leaf")["verdict"] == "baseline"
    assert all(row["verdict"] for row in rows)


def test_the_coverage_table_shows_methods_and_gaps(run):
    code, out, _ = run("methods", "--coverage")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("labeling"))
    assert re.split(r"  +", row)[1:] == ["bdkd, dho, tgeo", "acam, adpa, bdkd,", "adpa", "pld"]
    assert re.search(r"covered by no method\n  skill +instruction following, ", out)
    assert re.search(r"teach the student nothing: .*\bdiswot, .*\bexposure\b", out)
    pages = json.loads(run("methods", "--coverage", "--json")[1])
    assert len(pages["cells"]) == 24
    assert pages["gaps"]["elicitation"] == []
    assert "law" in pages["gaps"]["vertical"]


def test_a_method_is_explained(run):
    code, out, _ = run("methods", "show", "leaf")
    assert code == 0
    assert out.startswith("LEAF: ")
    assert "  distance=norm  (norm | squared | cosine)" in out
    assert "https://arxiv.org/abs/2509.12539" in out
    assert "recipes/leaf.toml" in out


@pytest.mark.parametrize("name", method_folders())
def test_every_method_can_be_shown_as_text_and_as_json(run, name):
    assert name in run("methods", "show", name)[1]
    page = json.loads(run("methods", "show", name, "--json")[1])
    assert page["result"]["name"] == page["name"] == name


def test_a_measured_method_shows_its_difference(run, tmp_path, monkeypatch):
    write_result(tmp_path, "sinkd")
    monkeypatch.setattr("leafkit.methods.ledger.VERDICTS", tmp_path)
    out = run("methods", "show", "sinkd")[1]
    assert "token table: helps, +0.0200 [+0.0100, +0.0300] mean nDCG@10 over 2 seeds, compared with plain LEAF" in out


def test_an_unknown_method_is_one_message(run):
    code, out, err = run("methods", "show", "leav")
    assert (code, out) == (1, "")
    assert "there is no method 'leav'; did you mean 'leaf'?" in err


@pytest.mark.parametrize("command", [["methods"], ["methods", "show"]])
def test_help_explains_the_commands(run, command):
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "leafkit methods" in out


def test_help_does_not_import_torch():
    program = "import sys; from leafkit.cli import app; app(['methods', '--help'], standalone_mode=False)"
    program += "; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_compare_prints_a_table_and_writes_the_result(run, tmp_path, tiny_teacher, tiny_texts):
    labelled = "".join(json.dumps({"text": f"{word} {i}", "label": word}) + "\n" for i in range(6) for word in "ab")
    (tmp_path / "banking77").mkdir()
    for split in ("train", "test"):
        (tmp_path / "banking77" / f"{split}.jsonl").write_text(labelled)
    text = f'texts = ["{tiny_texts}"]\nteacher = "{tiny_teacher}"\nstudent = "teacher:layers=1"\nepochs = 0\n'
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(text)
    asked = ["compare", "--recipe", "one.toml", "--recipe", "two.toml", "--task", "classes", "--data-root", tmp_path]
    asked += ["--seeds", "1", "--work", tmp_path / "work", "--out", tmp_path / "two.json"]
    code, out, err = run(*asked)
    assert code == 0, err
    assert "| two |" in out
    found = json.loads((tmp_path / "two.json").read_text())
    assert json.loads(run(*asked, "--json")[1])[0]["difference"] == found["difference"]
    assert found["verdict"] == "ties"


def test_options_of_compare_are_the_arguments_of_the_function_with_its_defaults():
    options = inspect.signature(typed.compare).parameters
    arguments = inspect.signature(function.compare).parameters
    shared = set(options) & set(arguments)
    assert set(options) - shared == {"recipe", "out", "as_json"}
    assert all(options[name].default == arguments[name].default for name in shared)


def test_one_file_for_several_results_is_refused_before_training(run):
    code, _, err = run("compare", *(f"--recipe={name}" for name in "abc"), "--data-root", ".", "--out", "all.json")
    assert code == 1
    assert "all.json is one file, but 2 recipes are compared" in err
