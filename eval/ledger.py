"""``python -m eval.ledger``: write leafkit/methods/verdicts/README.md, the table of all methods with verdicts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from leafkit.evaluation.compare.report import markdown_table
from leafkit.files.atomic import write_file
from leafkit.methods import ledger as verdicts
from leafkit.methods.ledger import STUDENTS, LedgerRow, Measured, read_ledger, read_result

_HEAD = """# What each method is worth

This page is written by `python -m eval.ledger` from the result files in this folder; do not edit it. Which method suits
which situation is on another page: [which one should I turn on?](../../../docs/which-method.md)

Every method was trained in one setting (`eval/screen`): 6,000 short texts, one epoch, five seeds, each kind of
student. Its dose is the best of those tried, chosen on 300 other queries. Where a dose is said to be the best for
another kind of student, it was chosen with that one, whose trainings take less time. A pull of 0.3 is the weight at
which the method's gradient is 0.3 times LEAF's. The difference is that of the figure, method minus baseline, with a
95 % t-interval over seeds and test items. Each result file has every other figure and the whole curve over doses.

- `helps`, `harms`: the difference is beyond chance at 5 %, corrected by Holm's method for all rows together.
- `no difference`: the interval lies within 0.5 % of the baseline's figure.
- `unresolved`: neither. The measurement cannot tell; "found from" is the smallest difference that it finds four times
  in five.

Retrieval is nDCG@10 of the student's queries on the teacher's documents, the mean over six small collections. A method
that is told the labels of the texts is compared with cross-entropy told the same labels. A row that harms is a result.
The setting is small: seconds of training on one core. Only measured methods have a row; `leafkit methods` lists all.
"""


def readme(rows: Sequence[LedgerRow], baselines: dict[str, Any] | None = None) -> str:
    """Return the page: how to read it, a table for each kind of student, the baselines, and the commands."""
    lines = [_HEAD]
    for student, words in STUDENTS.items():
        if any(student in row.measured for row in rows):
            lines += [f"## Student: {words}", "", _table(rows, student), ""]
    controls = _controls(baselines or {})
    if controls:
        lines += ["## Baselines and control arms", "", controls, ""]
    commands = [row.command for row in rows if row.command]
    if commands:
        again = (
            "To repeat a row, run its command from the root of the checkout and then `python -m eval.screen report`."
        )
        lines += ["## Commands", "", again, "", "```", *commands, "```", ""]
    return "\n".join(lines)


def _table(rows: Sequence[LedgerRow], student: str) -> str:
    head = ["method", "folder", "paper", "needs", "dose", "figure", "compared with", "difference", "found from"]
    head.append("verdict")
    cells = [head]
    for row in rows:
        # A method that was not measured has no row: the page changes with the results, not with the methods.
        if (one := row.measured.get(student)) is not None:
            cells.append([row.name, row.folder, row.paper, ", ".join(row.needs), *_measured(one)])
    return markdown_table(cells, ["---"] * len(head))


def _measured(one: Measured) -> list[str]:
    found = f"{one.row['difference']['detectable']:.4f}"
    return [one.dose, one.figure, one.compared_with, one.difference, found, one.verdict]


def _controls(baselines: dict[str, Any]) -> str:
    """Return a table of the control arms with their own differences from a baseline; empty if there are none."""
    cells = [["arm", "student", "figure", "compared with", "difference", "verdict"]]
    for result in baselines.values():
        for one in (Measured(row=row) for row in result["rows"].values() if "verdict" in row):
            cells.append([result["title"], one.student, one.figure, one.compared_with, one.difference, one.verdict])
    return markdown_table(cells, ["---"] * 6) if len(cells) > 1 else ""


def read_baselines() -> dict[str, Any]:
    """Return the results of the control arms by name; empty if there are none."""
    result = read_result(verdicts.BASELINES)
    return dict(result["arms"]) if result else {}


def main() -> None:
    """Write the page and print its path."""
    page = verdicts.VERDICTS / "README.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_file(page, readme(read_ledger(), read_baselines()))
    sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
