"""The page docs/which-method.md, "Which one should I turn on?": by situation, from the result files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.screen.figures import MAIN
from eval.screen.systems import LEAF, SITUATIONS, System
from leafkit.evaluation.compare.report import markdown_table
from leafkit.methods.ledger import (
    NOT_MEASURED,
    STUDENTS,
    VERDICTS,
    Measured,
    format_difference,
    ledger_row,
    read_result,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "which-method.md"

_HEAD = """# Which one should I turn on?

This page is written by `python -m eval.screen report` from the result files in `leafkit/methods/verdicts`; do not edit
it. How each figure was measured, and each verdict in detail, is in [what each method is worth](methods/index.md).

Plain LEAF is the default and needs none of these methods. A method is worth turning on if it `helps` in your situation.
`no difference` means that the method changes the figure by less than half a percent, `unresolved` that the measurement
cannot tell. All rows come from one small setting: 6,000 short texts, one epoch, a small English teacher.
[With ten times the steps](results/more-steps.md) some rows were measured again.

"Also compared with" shows other arms on the same texts. Their intervals are not corrected for the number of rows. A
method that helps is worth its name only if it is ahead of them too; otherwise the simpler arm does the same.

A difference that was found in mean nDCG@10 is also given in texts: "+20 % texts" means that plain LEAF gains as much
from 20 % more texts, which cost 20 % more training and teacher time. The cost of a method is its processor time after
the start, compared with that of its baseline.
"""

_NOT_AHEAD = "helps, not ahead"

_WORDS = {
    "few texts": "You have only a few thousand texts, and want more from them.",
    "labels at hand": "Your texts have classes, and the student's vectors will be classified.",
    "pairs at hand": "You know which documents answer some of your queries.",
    "several sources": "Your texts come from several sources of unequal size or difficulty.",
    "noisy or quantised targets": "The teacher's vectors are rounded, compressed or partly wrong.",
    "few teacher calls": "Every text that the teacher encodes costs money or time.",
    "two teachers": "You have a second embedding model beside the teacher.",
    "tiny student": "The student must be as small as possible.",
    "privacy": "The training texts contain things that the student must not reveal.",
}


def which_method(systems: Mapping[str, System]) -> str:
    """Return the page; ``systems`` is the table of the screen, which says which row speaks about which situation."""
    parts = [_HEAD, _plain()]
    for situation in SITUATIONS:
        parts.append(_section(situation, [one for one in systems.values() if situation in one.situations]))
    return "\n".join(parts)


def _plain() -> str:
    """Return the table of LEAF's own figure by number of texts, the yardstick of the page."""
    result = read_result(VERDICTS / f"{LEAF}.json") or {"rows": {}}
    curves = {student: row["curve"] for student, row in result["rows"].items()}
    counts = sorted({int(texts) for curve in curves.values() for texts in curve})
    if not counts:
        return f"LEAF's own curve over the number of texts is {NOT_MEASURED}.\n"
    head = ["plain LEAF on", *(f"{texts:,} texts" for texts in counts)]
    rows = [head]
    for student, curve in curves.items():
        figures = [f"{curve[str(texts)]:.4f}" if str(texts) in curve else NOT_MEASURED for texts in counts]
        rows.append([STUDENTS[student], *figures])
    table = markdown_table(rows, ["---", *["---:"] * len(counts)])
    return f"## More texts, the yardstick\n\nMean nDCG@10 of plain LEAF, one epoch, over five seeds.\n\n{table}\n"


def _section(situation: str, systems: Sequence[System]) -> str:
    rows = {label(system): of_screen(system) for system in systems}
    lines = [f"## {situation.capitalize()}", "", _WORDS[situation], "", _answer(rows), ""]
    cells = [["method", "student", "dose", "figure", "compared with", "verdict", "difference", "also compared with"]]
    cells[0] += ["worth", "cost"]
    for name, measured in rows.items():
        cells += [_cells(name, one) for one in measured.values()]
    if len(cells) > 1:
        lines += [markdown_table(cells, ["---"] * len(cells[0])), ""]
    return "\n".join(lines)


def label(system: System) -> str:
    """Return how the page names a system: a method by its name, any other arm by its title."""
    return f"`{system.name}`" if system.is_method else system.title


def of_screen(system: System) -> Mapping[str, Measured]:
    """Return what the screen found about a method or another arm, by kind of student."""
    if system.is_method:
        return ledger_row(system.name, VERDICTS).measured
    arms = (read_result(VERDICTS / "baselines.json") or {"arms": {}})["arms"]
    rows = arms.get(system.name, {"rows": {}})["rows"]
    return {student: Measured(row=row) for student, row in rows.items() if "verdict" in row}


def _answer(rows: Mapping[str, Mapping[str, Measured]]) -> str:
    """Return the sentence that answers the situation: what helps, or that nothing has been shown to."""
    by_verdict: dict[str, list[str]] = {}
    for name, measured in rows.items():
        if not measured:
            by_verdict.setdefault(NOT_MEASURED, []).append(name)
        for one in measured.values():
            behind = _not_ahead(one)
            verdict = _NOT_AHEAD if behind else one.verdict
            by_verdict.setdefault(verdict, []).append(f"{name} ({one.student}{behind})")
    if not rows:
        return "No method of leafkit has been measured for this situation."
    words = {
        "helps": "Turn on",
        _NOT_AHEAD: "Helps, but a simpler arm is not behind",
        "harms": "Leave off, because it harms",
        "no difference": "Makes no difference",
        "unresolved": "Unresolved",
        NOT_MEASURED: "Not measured yet",
    }
    first = [] if "helps" in by_verdict else ["Nothing has been shown to help here, so stay with plain LEAF."]
    return " ".join(
        [*first, *(f"{text}: {', '.join(by_verdict[key])}." for key, text in words.items() if key in by_verdict)]
    )


def _not_ahead(one: Measured) -> str:
    """Return which of the other arms a method that helps has not been shown to be ahead of, as words."""
    behind = [str(other["compared_with"]) for other in one.row.get("against", ()) if other[one.figure]["low"] <= 0]
    return f"; not ahead of {' or '.join(behind)}" if behind and one.verdict == "helps" else ""


def _cells(name: str, one: Measured) -> list[str]:
    seconds = one.row["seconds"]
    baseline = one.row["figures"][one.figure]["baseline"]
    share = one.row["difference"]["mean"] / (sum(baseline) / len(baseline))
    difference = f"{one.difference} ({100 * share:+.1f} %)"
    if one.figure != MAIN:
        difference += f"; {MAIN} {format_difference(one.row['figures'][MAIN]['difference'])}"
    others = "; ".join(_other(other, one.figure) for other in one.row.get("against", ()))
    more = round(100 * (seconds["system"] / seconds["baseline"] - 1))
    cost = f"{more:+d} % ({seconds['system']:.0f} s)"
    facts = [name, one.student, one.dose, one.figure, one.compared_with, one.verdict, difference]
    # A gain over a weak baseline alone is not worth any texts.
    return [*facts, others or "-", "-" if _not_ahead(one) else worth(one.row), cost]


def _other(found: Mapping[str, Any], figure: str) -> str:
    """Return what else the method was compared with, and the difference, which is not corrected for the rows."""
    return f"{found['compared_with']}: {format_difference(found[figure])}"


def worth(row: Mapping[str, Any]) -> str:
    """Return the gain in texts of plain LEAF as words, with its interval; ``-`` if it cannot be said."""
    found = row.get("worth")
    if not found or row["verdict"] not in ("helps", "harms") or found["mean"] is None:
        return "-"
    low, high = (_texts(found[side]) for side in ("low", "high"))
    return f"{_texts(found['mean'])} texts [{low}, {high}]"


def _texts(times: float | None) -> str:
    """Return a number of times as many texts as a change in percent; None lies outside of the measured curve."""
    return "beyond the curve" if times is None else f"{100 * (times - 1):+.0f} %"
