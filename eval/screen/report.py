"""The result files of the screen: leafkit/methods/verdicts/NAME.json for each method, and baselines.json for the rest.

A file has a row for each kind of student. A row says what was compared with what, the difference of its main figure
with interval, corrected p-value and verdict, every other figure, the curve over doses, the costs, and the mean over
seeds of each item of the main figure. The p-values of all rows are corrected together, so a new row can change the
verdict of another, and all files are written at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.screen.benchmark import TEST
from eval.screen.figures import MAIN, Figure, figures_of
from eval.screen.log import LOG
from eval.screen.stages import QUICK, SEEDS, Cell, DosePoint, Screen, mean_figure, scores_of, seed_figures
from eval.screen.statistics import REGION, Difference, difference, holm, verdict, worth_in_texts
from eval.screen.systems import DOSES_FROM, LEAF, PULL, STUDENTS, System
from leafkit.evaluation.compare.study import Run
from leafkit.evaluation.provenance import commit, packages
from leafkit.methods.ledger import SCHEMA
from leafkit.version import __version__

NOTE = (
    "difference: system minus baseline, mean over seeds; low to high: 95 % t-interval over seeds and items; holm: "
    "p-value corrected for all rows; no difference: the interval lies within 0.5 % of the baseline; helps, harms: holm "
    "below 0.05; the dose was chosen on other queries"
)

Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The cell of a system beside the cell of its first baseline, for one kind of student."""

    system: Cell
    baseline: Cell
    others: Sequence[Cell]

    @property
    def student(self) -> str:
        """The kind of the student."""
        return self.system.arm.student


def measured_pairs(screen: Screen, students: Iterable[str]) -> list[Pair]:
    """Return a pair for each system whose runs, and those of its first baseline, are finished and not the same."""
    found = []
    for student in students:
        for name, system in screen.systems.items():
            if name == LEAF or student not in system.students or not system.baselines:
                continue
            cell = screen.cell(name, student)
            first, *others = (screen.cell(baseline, student, system.texts) for baseline in system.baselines)
            if cell is None or first is None or any("failed" in run for run in (*cell.runs, *first.runs)):
                continue
            if any(run["scores"] == other["scores"] for run, other in zip(cell.runs, first.runs, strict=True)):
                # One of the two was not trained as its options say, or the method does nothing.
                LOG.warning(
                    "%s and %s have a run with equal scores, so %s gets no row", cell.arm.name, first.arm.name, name
                )
                continue
            found.append(Pair(system=cell, baseline=first, others=[other for other in others if other]))
    return found


def results(screen: Screen, students: Sequence[str]) -> dict[str, Result]:
    """Return the result of every system that is measured for at least one of ``students``, LEAF included."""
    pairs = measured_pairs(screen, students)
    differences = [compared(screen, pair.system, pair.baseline, pair.system.system.figure) for pair in pairs]
    adjusted = holm([found.p for found in differences])
    # The curve over numbers of texts says nothing about ten times the texts.
    curves = {student: {} if screen.larger else texts_curve(screen, student) for student in students}
    rows: dict[str, dict[str, Any]] = {}
    for pair, found, p in zip(pairs, differences, adjusted, strict=True):
        row = _row(screen, pair, found, p, len(pairs), curves[pair.student])
        rows.setdefault(pair.system.system.name, {})[pair.student] = row
    for student in students:
        if leaf := screen.cell(LEAF, student):
            rows.setdefault(LEAF, {})[student] = _baseline_row(screen, leaf, curves[student])
    return {name: _result(screen, screen.systems[name], of_students) for name, of_students in rows.items()}


def texts_curve(screen: Screen, student: str) -> dict[int, float]:
    """Return LEAF's main figure by number of texts."""
    figure = screen.figure(MAIN, TEST)
    return {texts: mean_figure(runs, figure, TEST) for texts, runs in screen.texts_curve(student).items()}


def compared(screen: Screen, system: Cell, baseline: Cell, figure: str) -> Difference:
    """Return the difference of ``figure`` on test items."""
    chosen = screen.figure(figure, TEST)
    own, theirs = ([scores_of(cell.runs, part, TEST) for part in chosen.parts] for cell in (system, baseline))
    return difference(own, theirs, chosen.statistic)


def _row(
    screen: Screen, pair: Pair, found: Difference, adjusted: float, family: int, curve: dict[int, float]
) -> dict[str, Any]:
    system, baseline = pair.system, pair.baseline
    name = system.system.figure
    figure = screen.figure(name, TEST)
    on_main = found if name == MAIN else compared(screen, system, baseline, MAIN)
    return {
        **_facts(screen, system),
        "figure": name,
        "verdict": verdict(found, adjusted, larger_is_better=figure.larger_is_better),
        "baseline": baseline.system.name,
        "compared_with": title(baseline.system),
        "difference": {**_rounded(found), "holm": _digits(adjusted), "family": family},
        "region": _digits(REGION * abs(found.baseline)),
        "against": [
            {"baseline": other.system.name, "compared_with": title(other.system)}
            | {name: _rounded(compared(screen, system, other, name)) for name in dict.fromkeys((name, MAIN))}
            for other in pair.others
        ],
        "figures": {
            one.name: _figure(screen, one, system, baseline) for one in figures_of(screen.study.benchmark, TEST)
        },
        "worth": _worth(curve, on_main),
        "seconds": {"system": _mean(system.runs, "seconds"), "baseline": _mean(baseline.runs, "seconds")},
        "teacher_calls": {
            "system": _mean(system.runs, "teacher_calls"),
            "baseline": _mean(baseline.runs, "teacher_calls"),
        },
    }


def _baseline_row(screen: Screen, cell: Cell, curve: dict[int, float]) -> dict[str, Any]:
    benchmark = figures_of(screen.study.benchmark, TEST)
    return {
        **_facts(screen, cell),
        "figures": {one.name: {"seeds": _seeds(cell, one)} for one in benchmark},
        "curve": {str(texts): _digits(value) for texts, value in curve.items()},
        "seconds": {"system": _mean(cell.runs, "seconds")},
        "teacher_calls": {"system": _mean(cell.runs, "teacher_calls")},
    }


def _facts(screen: Screen, cell: Cell) -> dict[str, Any]:
    arm, texts = cell.arm, screen.study.text_set(cell.arm.texts)
    main = screen.figure(cell.system.figure, TEST)
    return {
        "student": {"kind": arm.student, **STUDENTS[arm.student]},
        "texts": {"set": texts.name, "texts": texts.texts, "sha256": texts.sha256},
        "methods": arm.specs or [LEAF],
        "options": {name: value for name, value in arm.options.items() if name not in _METHODS},
        "dose": _dose(screen, cell),
        "seeds": list(SEEDS),
        "counts": {part: len(cell.runs[0]["scores"][part][TEST]) for part in main.parts},
        "items": {part: _items(cell.runs, part) for part in main.parts},
        "run_commits": sorted({str(run["commit"]) for run in cell.runs}),
    }


_METHODS = ("methods", "feeds", "writers", "architecture")


def _dose(screen: Screen, cell: Cell) -> dict[str, Any] | None:
    """Return the chosen dose, the kind of student that it was chosen on, and the curve if that is its own.

    A point of the curve is a dose with its weight and its figures on the seeds of the search.
    """
    system = cell.system
    if cell.arm.dose is None:
        return None
    return {
        "field": "pull, the size of the gradient relative to LEAF's" if system.dose == PULL else system.dose,
        "chosen": cell.arm.dose,
        "chosen_on": cell.arm.student if cell.curve else DOSES_FROM.get(cell.arm.student, cell.arm.student),
        "curve": [_point(screen, point) for point in cell.curve],
    }


def _point(screen: Screen, point: DosePoint) -> dict[str, Any]:
    benchmark = screen.study.benchmark
    means = {one.name: _digits(mean_figure(point.runs, one, TEST)) for one in figures_of(benchmark, TEST)}
    if any("failed" in run for run in point.runs):
        means = {}
    seeds = [run["seed"] for run in point.runs]
    return {"dose": point.arm.dose, "methods": point.arm.specs, "seeds": seeds, "test": means}


def _figure(screen: Screen, figure: Figure, system: Cell, baseline: Cell) -> dict[str, Any]:
    found = compared(screen, system, baseline, figure.name)
    short = {name: _digits(getattr(found, name)) for name in ("mean", "low", "high")}
    return {"seeds": _seeds(system, figure), "baseline": _seeds(baseline, figure), "difference": short}


def _seeds(cell: Cell, figure: Figure) -> list[float]:
    return [_digits(value) for value in seed_figures(cell.runs, figure, TEST)]


def _items(runs: Sequence[Run], part: str) -> list[float]:
    """Return the mean over seeds of each item's score, with three digits."""
    return [round(float(value), 3) for value in scores_of(runs, part, TEST).mean(axis=0)]


def _worth(curve: dict[int, float], found: Difference) -> dict[str, float | None] | None:
    """Return how many times as many texts of plain LEAF the difference and its bounds are worth."""
    if len(curve) < 2:
        return None
    sides = {name: worth_in_texts(curve, 6000, getattr(found, name)) for name in ("mean", "low", "high")}
    return {name: None if value is None else _digits(value) for name, value in sides.items()}


def _result(screen: Screen, system: System, rows: Mapping[str, Any]) -> Result:
    return {
        "schema": SCHEMA,
        "system": system.name,
        "title": title(system),
        "situations": list(system.situations),
        "rows": dict(rows),
        "data": {"teacher": screen.study.teacher.space.to_json(), "sha256": screen.study.benchmark.hashes},
        "command": _command(system.name, rows, tier=" --tier dose" if screen.larger else ""),
        "commit": commit(),
        "versions": {"leafkit": __version__, **packages()},
        "note": NOTE,
    }


def _command(name: str, rows: Mapping[str, Any], *, tier: str) -> str:
    """Return the commands that make the runs of ``rows``, first those whose doses other kinds of students take."""
    commands = []
    for student in sorted(rows, key=lambda student: student in DOSES_FROM):
        dose = rows[student].get("dose") or {"chosen_on": student, "curve": []}
        search = " --search borrowed" if dose["chosen_on"] != student else ""
        if any(len(point["seeds"]) == len(QUICK.seeds) for point in dose["curve"]):
            search = " --search quick"
        commands.append(f"python -m eval.screen run{tier} --student {student}{search} --only {name}")
    return " && ".join(commands)


def result_text(result: Result) -> str:
    """Return ``result`` as indented JSON with each list of numbers on one line."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    return re.sub(r"\[[\s\d.,e+-]+\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def title(system: System) -> str:
    """Return what a system is in words; a method is named by its spec."""
    return system.title or f"LEAF and {system.method}"


def missing_arms(screen: Screen, students: Sequence[str]) -> list[str]:
    """Return the systems, by kind of student, that have no complete runs yet."""
    return [
        f"{student} {name}"
        for student in students
        for name, system in screen.systems.items()
        if student in system.students and screen.cell(name, student) is None
    ]


def _rounded(found: Difference) -> dict[str, float]:
    values = {name: _digits(value) for name, value in asdict(found).items()}
    return values | {"detectable": _digits(found.detectable)}


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _mean(runs: Sequence[Run], name: str) -> float:
    return round(sum(float(run[name]) for run in runs) / len(runs), 2)
