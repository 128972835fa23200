"""The stages, result files and pages, with runs that are made up instead of trained."""

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy
import pytest

from eval.screen import __main__ as command
from eval.screen import more_steps
from eval.screen import which_method as page_module
from eval.screen.benchmark import DEV, TEST
from eval.screen.figures import ACCURACY, COSINE, ECE, MAIN, NDCG, NLL, OVERLAP, STSB
from eval.screen.report import missing_arms, result_text, results
from eval.screen.stages import FULL, QUICK, SEEDS, Screen, best, run_system
from eval.screen.systems import read_systems
from eval.screen.texts import TextSet
from eval.screen.which_method import which_method, worth
from leafkit.errors import OptionError
from leafkit.methods import ledger
from tests.fixtures.verdicts import write_result

TABLE = """
[leaf]
method = ""
title = "plain LEAF"
[condense-random]
method = "condense"
fixed = { mode = "random" }
dose = "share"
doses = []
dose_of = "condense"
title = "random texts"
[condense]
dose = "share"
doses = [0.1, 0.2, 0.3, 0.4, 0.5]
baselines = ["condense-random", "leaf"]
situations = ["few texts"]
[curriculum]
dose = "until"
doses = [0.25, 0.5, 1]
situations = ["few texts"]
[sinkd]
situations = ["tiny student"]
"""
ITEMS = 40
NAMES = ("a", "b")
GAIN = {"condense": 0.05, "curriculum": 0.0, "condense-random": 0.0}
"""What each system adds to LEAF's scores; that of condense is halved for each step away from its best share of 0.3."""


@dataclass
class Study:
    """Makes up runs: scores of items and seeds, and the gain of the system."""

    work: object
    made: dict = field(default_factory=dict)
    benchmark: object = field(
        default_factory=lambda: SimpleNamespace(
            collections=[SimpleNamespace(name=name) for name in NAMES],
            rated={split: SimpleNamespace(ratings=numpy.arange(ITEMS)) for split in (DEV, TEST)},
            hashes={},
        )
    )
    teacher: object = field(
        default_factory=lambda: SimpleNamespace(space=SimpleNamespace(id="space", to_json=lambda: {"id": "space"}))
    )

    def text_set(self, name):
        return TextSet(name=name, file=self.work, sha256=name, texts=6000)

    def key(self, arm, seed):
        return "key"

    def measure(self, arms, seeds):
        for arm in arms:
            for seed in seeds:
                self.made.setdefault((arm.name, seed), _run(arm, seed))
        return {arm.name: self.found(arm, seeds) for arm in arms}

    def found(self, arm, seeds):
        runs = [self.made.get((arm.name, seed)) for seed in seeds]
        return runs if all(runs) else None


def _run(arm, seed):
    gain = GAIN.get(arm.system, 0.0) * (1 - abs((arm.dose or 0.3) - 0.3) if arm.system == "condense" else 1)
    if arm.texts.startswith("plain-"):
        gain += 0.04 * numpy.log2(int(arm.texts.partition("-")[2]) / 6000)
    draw = numpy.random.default_rng(0)
    noise = numpy.random.default_rng([seed, len(arm.name)])
    scores = {}
    for name in (*(f"{NDCG}{one}" for one in NAMES), COSINE, OVERLAP, STSB, ACCURACY, NLL, ECE):
        level = draw.random(ITEMS) * 0.5 + 0.2
        scores[name] = {split: (level + gain + noise.normal(0, 0.004, ITEMS)).tolist() for split in (DEV, TEST)}
    return {
        "arm": arm.name,
        "seed": seed,
        "seconds": 12.0 if arm.system == "condense" else 10.0,
        "teacher_calls": 6000,
        "commit": "c",
        "scores": scores,
    }


@pytest.fixture
def screen(tmp_path):
    (tmp_path / "systems.toml").write_text(TABLE)
    return Screen(study=Study(tmp_path), systems=read_systems(tmp_path / "systems.toml"), makes=True)


def finding(screen):
    return Screen(study=screen.study, systems=screen.systems, makes=False)


def test_a_dose_is_searched_on_two_seeds_and_the_best_has_all(screen):
    cell = screen.cell("condense", "table")
    assert cell.arm.dose == 0.3
    assert [point.arm.dose for point in cell.curve] == [0.1, 0.2, 0.3, 0.4, 0.5]
    seeds = {arm: [seed for name, seed in screen.study.made if name == arm] for arm, _ in screen.study.made}
    assert seeds["table-plain-condense-0.3"] == list(SEEDS)
    assert seeds["table-plain-condense-0.1"] == [0, 1]


def test_a_quick_search_makes_fewer_runs_which_the_full_search_uses_again(screen):
    quick = Screen(study=screen.study, systems=screen.systems, makes=True, searches=(QUICK,))
    assert [point.arm.dose for point in quick.cell("condense", "table").curve] == [0.2, 0.3, 0.4]
    made = set(screen.study.made)
    assert len(made) == 2 + len(SEEDS)
    assert [len(point.runs) for point in finding(screen).cell("condense", "table").curve] == [1, 1, 1]
    screen.cell("condense", "table")
    assert made < set(screen.study.made)
    assert [len(point.runs) for point in finding(screen).cell("condense", "table").curve] == [len(FULL.seeds)] * 5


def test_a_control_takes_the_dose_of_its_system(screen):
    assert screen.cell("condense-random", "table").arm.specs == ["condense:mode=random,share=0.3"]


def test_the_tier_of_more_steps_takes_a_larger_set(screen):
    larger = replace(screen, larger="plain-60000")
    assert larger.cell("condense", "table") is None
    chosen = screen.cell("condense", "table").arm.dose
    cell = larger.cell("condense", "table")
    assert (cell.arm.texts, cell.arm.dose, cell.curve) == ("plain-60000", chosen, ())
    assert {name for name, _ in screen.study.made if "60000" in name} == {f"table-plain-60000-condense-{chosen:g}"}


def test_the_tier_of_more_steps_repeats_a_set_that_has_no_larger_one(screen):
    labels = replace(screen, larger="plain-60000", systems={"leaf": replace(screen.systems["leaf"], texts="labels")})
    arm = labels.cell("leaf", "table").arm
    assert (arm.texts, arm.options["epochs"]) == ("labels", 10)


def test_a_kind_of_student_can_take_the_doses_of_another(screen):
    borrowing = replace(screen, searches=())
    assert borrowing.cell("condense", "picked") is None
    screen.cell("condense", "table")
    cell = borrowing.cell("condense", "picked")
    assert (cell.arm.student, cell.arm.dose, cell.curve) == ("picked", 0.3, ())
    assert {seed for name, seed in screen.study.made if name.startswith("picked")} == set(SEEDS)
    assert borrowing.cell("condense-random", "picked").arm.dose == 0.3
    result = results(finding(screen), ["picked"])["condense"]
    assert result["command"] == "python -m eval.screen run --student picked --search borrowed --only condense"
    dose = result["rows"]["picked"]["dose"]
    assert (dose["chosen"], dose["chosen_on"], dose["curve"]) == (0.3, "table", [])


def test_a_row_is_measured_with_its_own_kinds_of_students(screen):
    systems = {**screen.systems, "curriculum": replace(screen.systems["curriculum"], students=("picked",))}
    only = replace(finding(screen), systems=systems)
    assert "picked curriculum" in missing_arms(only, ["picked", "table"])
    assert "table curriculum" not in missing_arms(only, ["picked", "table"])


def test_the_best_dose_is_that_of_the_figure_and_collapsed_runs_are_the_worst(screen):
    curve = screen.curve("condense", "table", "plain")
    assert best(curve, screen.figure(MAIN)).arm.dose == 0.3
    # A smaller loss is better, and the loss is made up like the scores: it grows with the gain.
    assert best(curve, screen.figure(NLL)).arm.dose in (0.1, 0.5)
    curve[2].runs[0] = {"failed": "collapsed"}
    assert best(curve, screen.figure(MAIN)).arm.dose in (0.2, 0.4)


def test_nothing_is_trained_or_measured_for_a_report(screen):
    found = finding(screen)
    assert found.cell("condense", "table") is None
    assert found.cell("sinkd", "table") is None
    assert results(found, ["table"]) == {}
    assert len(missing_arms(found, ["table"])) == len(screen.systems)
    assert not screen.study.made


def test_the_weight_of_a_pull_is_read_where_it_was_measured(screen, tmp_path):
    (tmp_path / "pulls").mkdir()
    (tmp_path / "pulls" / "table-plain-sinkd-key.json").write_text(json.dumps({"pull at weight 1": 3.0}))
    curve = screen.curve("sinkd", "table", "plain")
    assert [point.arm.specs[-1] for point in curve[1:3]] == ["sinkd:weight=0.0333", "sinkd:weight=0.1"]


def test_an_error_of_one_system_is_logged_and_the_others_go_on(screen, monkeypatch, caplog):
    def refuse(arms, seeds):
        raise OptionError("the method cannot do this")

    monkeypatch.setattr(screen.study, "measure", refuse)
    assert not run_system(screen, "condense", "table")
    assert "condense, table: skipped: the method cannot do this" in caplog.text


def test_runs_that_equal_those_of_the_baseline_make_no_row(screen, caplog):
    run_system(screen, "condense", "table")
    assert "condense" in results(finding(screen), ["table"])
    random = screen.cell("condense-random", "table")
    # Not one of the seeds that the dose is chosen on.
    screen.cell("condense", "table").runs[4]["scores"] = random.runs[4]["scores"]
    assert "condense" not in results(finding(screen), ["table"])
    assert f"table-plain-condense-0.3 and {random.arm.name} have a run with equal scores" in caplog.text


@pytest.fixture
def measured(screen, monkeypatch, tmp_path):
    """The results of condense and curriculum for both students, with LEAF's curve, and a folder of their files."""
    for student in ("picked", "table"):
        for name in ("condense", "curriculum"):
            assert run_system(screen, name, student)
        screen.texts_curve(student)
    found = results(finding(screen), ["picked", "table"])
    for module in (ledger, page_module):
        monkeypatch.setattr(module, "VERDICTS", tmp_path)
    for name, result in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    return found


def test_a_result_has_a_row_for_each_student_that_the_ledger_reads(measured, tmp_path):
    row = ledger.ledger_row("condense", tmp_path)
    assert row.verdict == "helps"
    assert row.measured["table"].compared_with == "random texts"
    assert set(row.measured) == {"picked", "table"}
    assert ledger.ledger_row("curriculum", tmp_path).verdict == "no difference"
    assert ledger.ledger_row("sinkd", tmp_path).verdict == "not measured"
    assert ledger.ledger_row("leaf", tmp_path).verdict == "baseline"


def test_a_row_holds_what_its_interval_rests_on(measured):
    row = measured["condense"]["rows"]["table"]
    difference = row["difference"]
    own, theirs = row["figures"][MAIN]["seeds"], row["figures"][MAIN]["baseline"]
    assert difference["mean"] == pytest.approx(numpy.mean(own) - numpy.mean(theirs), abs=1e-4)
    assert difference["mean"] == pytest.approx(0.05, abs=0.005)
    assert difference["family"] == 6
    assert difference["p"] <= difference["holm"]
    assert difference["detectable"] == pytest.approx(2.8 * difference["error"], rel=1e-3)
    items = [numpy.mean(values) for values in row["items"].values()]
    assert numpy.mean(items) == pytest.approx(numpy.mean(own), abs=1e-3)
    assert [other["baseline"] for other in row["against"]] == ["leaf"]
    assert measured["condense"]["command"] == (
        "python -m eval.screen run --student table --only condense && "
        "python -m eval.screen run --student picked --only condense"
    )
    assert row["seconds"] == {"system": 12.0, "baseline": 10.0}


def test_a_file_has_each_list_of_numbers_on_one_line(measured):
    text = result_text(measured["condense"])
    assert json.loads(text) == measured["condense"]
    assert '"seeds": [ 0, 1, 2, 3, 4 ]' in text


def test_a_report_replaces_all_files_and_removes_those_of_methods_that_changed(measured, screen, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "BASELINES", tmp_path / "baselines.json")
    monkeypatch.setattr(command, "PAGE", tmp_path / "which-method.md")
    write_result(tmp_path, "taid")
    command._report(finding(screen), SimpleNamespace(student=None))
    assert {file.stem for file in tmp_path.glob("*.json")} == {"leaf", "condense", "curriculum", "baselines"}
    assert json.loads((tmp_path / "baselines.json").read_text())["arms"].keys() == {"condense-random"}
    assert "`condense`" in (tmp_path / "which-method.md").read_text()


def test_the_page_of_more_steps_shows_both_differences(measured, screen, tmp_path, monkeypatch):
    larger = replace(screen, larger="plain-60000")
    for name in ("condense", "curriculum"):
        assert run_system(larger, name, "table")
    found = replace(finding(screen), larger="plain-60000")
    monkeypatch.setattr(more_steps, "FOLDER", tmp_path / "files")
    monkeypatch.setattr(more_steps, "PAGE", tmp_path / "more-steps.md")
    command._report(found, SimpleNamespace(student=["table"]))
    page = more_steps.PAGE.read_text()
    row = json.loads((tmp_path / "files" / "condense.json").read_text())["rows"]["table"]
    assert row["worth"] is None
    same = "random texts (token table), `curriculum` (token table)"
    assert f"**Answer.** Helps: `condense` (token table); no difference: {same}." in page
    before = measured["condense"]["rows"]["table"]["difference"]
    assert f"| random texts | helps, {ledger.format_difference(before)} | " in page
    assert f"| {ledger.format_difference(row['difference'])} | helps |" in page
    assert "$ python -m eval.screen run --tier dose --student table --only condense" in page


def test_a_gain_is_given_in_texts_of_leaf(measured):
    # LEAF gains 0.04 for each doubling, so 0.05 is worth 2^1.25 times as many texts.
    found = measured["condense"]["rows"]["table"]["worth"]
    assert found["mean"] == pytest.approx(2**1.25, rel=0.1)
    assert found["low"] < found["mean"] < found["high"]


def test_the_page_answers_each_situation(measured, screen):
    page = which_method(screen.systems)
    assert "Turn on: `condense` (three layers of the teacher), `condense` (token table)." in page
    assert "Makes no difference: `curriculum` (three layers of the teacher), `curriculum` (token table)." in page
    assert "Nothing has been shown to help here, so stay with plain LEAF. Not measured yet: `sinkd`." in page
    assert "No method of leafkit has been measured for this situation." in page
    assert "| +20 % (12 s) |" in page
    assert "| plain LEAF on | 3,000 texts | 6,000 texts | 12,000 texts | 24,000 texts |" in page


def test_a_method_that_helps_is_not_said_to_beat_an_arm_that_does_as_much(measured, screen, tmp_path):
    row = measured["condense"]["rows"]["table"]
    arm = {"baseline": "other", "compared_with": "the other arm", MAIN: {"mean": 0.01, "low": -0.01, "high": 0.03}}
    measured["condense"]["rows"] = {"table": row | {"against": [arm]}}
    (tmp_path / "condense.json").write_text(json.dumps(measured["condense"]))
    page = which_method(screen.systems)
    assert "Helps, but a simpler arm is not behind: `condense` (token table; not ahead of the other arm)." in page
    assert "the other arm: +0.0100 [-0.0100, +0.0300] | - | +20 % (12 s) |" in page, "and is worth no texts"


def test_a_control_arm_with_a_situation_has_a_row_of_its_own(measured, screen, tmp_path):
    arm = replace(screen.systems["condense-random"], situations=("privacy",))
    row = measured["condense"]["rows"]["table"] | {"verdict": "harms"}
    arms = {"condense-random": {"rows": {"table": row}}}
    (tmp_path / "baselines.json").write_text(json.dumps({"schema": 2, "system": "baselines", "rows": {}, "arms": arms}))
    page = which_method({arm.name: arm})
    assert "Leave off, because it harms: random texts (token table)." in page
    assert "| random texts | token table |" in page


def test_the_page_in_the_checkout_is_up_to_date():
    stale = "run: python -m eval.screen report"
    assert page_module.PAGE.read_text(encoding="utf-8") == which_method(read_systems()), stale


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"verdict": "helps", "worth": {"mean": 1.5, "low": 1.2, "high": None}},
            "+50 % texts [+20 %, beyond the curve]",
        ),
        ({"verdict": "harms", "worth": {"mean": 0.7, "low": 0.6, "high": 0.8}}, "-30 % texts [-40 %, -20 %]"),
        ({"verdict": "unresolved", "worth": {"mean": 1.5, "low": 1, "high": 2}}, "-"),
        ({"verdict": "helps", "worth": None}, "-"),
    ],
)
def test_only_a_difference_that_was_found_is_given_in_texts(row, words):
    assert words in worth(row)
