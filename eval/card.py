"""Scores in a student's card: python -m eval.card STUDENT RESULT.json... writes them into its README.md."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from leafkit.command import one_message
from leafkit.errors import InputError
from leafkit.evaluation.page.section_content import SectionContent
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.result_tables import metric_title
from leafkit.files.atomic import write_file

_HEAD = "## Scores"


def scores(reports: Sequence[Report]) -> str:
    """The section of a card: the rows of ``reports`` on whole vectors, with intervals and the commands behind them."""
    lines = [_HEAD, "", "Means over queries with 95 % bootstrap intervals; retention is student over teacher.", ""]
    lines += [
        "| data | mode | student | encoder | metric | score | retention | queries |",
        "|---|---|---|---|---|---:|---:|---:|",
    ]
    for report in reports:
        for row in _whole(report):
            encoder = "" if row.student is None else report.provenance.encoder
            cells = (row.data, row.mode, row.student or "", encoder, _title(row), _score(row), _kept(row))
            lines.append(f"| {' | '.join(cells)} | {row.queries or ''} |")
    lines += ["", "```"]
    for report in reports:
        source = report.provenance
        lines.append(f"{source.command}  # commit {source.commit}, seed {source.seed}")
    return "\n".join([*lines, "```", "", ""])


def put(card: str, section: str) -> str:
    """``card`` with ``section`` in place of the scores it has, else before its training."""
    old = re.compile(rf"^{_HEAD}\n.*?(?=^## )", flags=re.MULTILINE | re.DOTALL)
    if old.search(card):
        return old.sub(lambda _: section, card, count=1)
    before, head, after = card.partition("## Training\n")
    if not head:
        raise InputError("the card has no section '## Training', before which scores belong; export the student again")
    return before + section + head + after


def _whole(report: Report) -> list[ResultRow]:
    """The rows outside the grid and in its widest cell: the other cells are about an index and not about a student."""
    section = SectionContent.of(report)
    rows = [*report.rows, *(row for means in report.means for row in means.rows)]
    return [row for row in rows if (row.dim, row.precision) in ((None, None), section.cell)]


def _title(row: ResultRow) -> str:
    return metric_title(row.main)


def _score(row: ResultRow) -> str:
    span = row.interval
    return f"{row.metrics[row.main]:.4f}" + ("" if span is None else f" [{span.low:.4f}, {span.high:.4f}]")


def _kept(row: ResultRow) -> str:
    if row.retention is None or row.mode == "teacher":
        return ""
    span = row.retention_interval
    return f"{row.retention:.1%}" + ("" if span is None else f" [{span.low:.1%}, {span.high:.1%}]")


def main(
    student: Annotated[Path, typer.Argument(help="The student folder, whose README.md is its card.")],
    results: Annotated[list[Path], typer.Argument(help="Result files of leafkit evaluate --json.")],
) -> None:
    """Put the scores of result files into a student's card."""
    card = student / "README.md"
    if not card.is_file():
        raise InputError(f"{card} is not there; leafkit distill writes the card of a student")
    reports = [Report.from_json(json.loads(path.read_bytes())) for path in results]
    write_file(card, put(card.read_text(encoding="utf-8"), scores(reports)))
    typer.echo(card)


if __name__ == "__main__":
    with one_message():
        typer.run(main)
