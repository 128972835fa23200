"""``python -m eval.card STUDENT RESULT.json...``: write the scores of result files into a student's model card."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from eval import DATA
from leafkit.command import exit_on_error
from leafkit.errors import InputError
from leafkit.evaluation.page.section_content import SectionContent
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.result_tables import metric_title
from leafkit.files.atomic import write_file

_HEAD = "## Scores"


def scores(reports: Sequence[Report]) -> str:
    """Return the scores section of a card: rows on untruncated float32 vectors, with intervals and commands.

    The commands name data folders without the path on our machine, because the card ships.
    """
    lines = [_HEAD, "", "Means over queries with 95 % bootstrap intervals; retention is student over teacher.", ""]
    lines += [
        "| data | mode | student | encoder | metric | score | retention | queries |",
        "|---|---|---|---|---|---:|---:|---:|",
    ]
    for report in reports:
        for row in _full_vector_rows(report):
            encoder = "" if row.student is None else report.provenance.encoder
            cells = (row.data, row.mode, row.student or "", encoder, metric_title(row.main), _score(row))
            lines.append(f"| {' | '.join(cells)} | {_retention(row)} | {row.queries or ''} |")
    lines += ["", "```"]
    for report in reports:
        source = report.provenance
        command = source.command.replace(f"{DATA}/", "")
        lines.append(f"{command}  # commit {source.commit}, seed {source.seed}")
    return "\n".join([*lines, "```", "", ""])


def insert_scores(card: str, section: str) -> str:
    """Return ``card`` with ``section`` in place of its scores section, or before its training section."""
    old = re.compile(rf"^{_HEAD}\n.*?(?=^## )", flags=re.MULTILINE | re.DOTALL)
    if old.search(card):
        return old.sub(lambda _: section, card, count=1)
    before, heading, after = card.partition("## Training\n")
    if not heading:
        raise InputError("the card has no section '## Training' to put the scores before. Export the student again.")
    return before + section + heading + after


def _full_vector_rows(report: Report) -> list[ResultRow]:
    """The rows outside the grid and in its widest cell: the other cells are about an index and not about a student."""
    section = SectionContent.of(report)
    rows = [*report.rows, *(row for means in report.means for row in means.rows)]
    return [row for row in rows if (row.dim, row.precision) in ((None, None), section.cell)]


def _score(row: ResultRow) -> str:
    interval = row.interval
    return f"{row.metrics[row.main]:.4f}" + ("" if interval is None else f" [{interval.low:.4f}, {interval.high:.4f}]")


def _retention(row: ResultRow) -> str:
    if row.retention is None or row.mode == "teacher":
        return ""
    interval = row.retention_interval
    return f"{row.retention:.1%}" + ("" if interval is None else f" [{interval.low:.1%}, {interval.high:.1%}]")


def main(
    student: Annotated[Path, typer.Argument(help="The student folder whose README.md is the card.")],
    results: Annotated[list[Path], typer.Argument(help="Result files of leafkit evaluate --json.")],
) -> None:
    """Write the scores of result files into a student's model card."""
    card = student / "README.md"
    if not card.is_file():
        raise InputError(f"{card} does not exist. Give a student folder: leafkit distill writes the card in it.")
    reports = [Report.from_json(json.loads(path.read_bytes())) for path in results]
    write_file(card, insert_scores(card.read_text(encoding="utf-8"), scores(reports)))
    typer.echo(card)


if __name__ == "__main__":
    with exit_on_error():
        typer.run(main)
