"""The table that leafkit methods --coverage prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from leafkit.methods.coverage import ALGORITHMS, ELICITATIONS, Coverage

_WIDTH = 24


def coverage_text(coverage: Coverage) -> str:
    """Return ``coverage`` as text: the table of elicitations and algorithms, the skills, and the gaps."""
    lines = ["knowledge elicitation (rows) x distillation algorithm (columns); - is an empty cell", ""]
    lines += _row(("", *ALGORITHMS))
    for elicitation in ELICITATIONS:
        cells = (coverage.cells[elicitation, algorithm] for algorithm in ALGORITHMS)
        lines += _row((elicitation, *(", ".join(names) or "-" for names in cells)))
    lines += _section("skills", coverage.skills)
    lines += _section("verticals", coverage.verticals)
    lines += _section("covered by no method", coverage.gaps)
    if coverage.outside:
        lines += ["", f"outside the table, because they teach the student nothing: {', '.join(coverage.outside)}"]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> list[str]:
    """Return one row of the table as lines, with long cells wrapped."""
    wrapped = [textwrap.wrap(cell, _WIDTH - 2, break_on_hyphens=False) for cell in cells]
    height = max(len(lines) for lines in wrapped)
    padded = [lines + [""] * (height - len(lines)) for lines in wrapped]
    return ["".join(f"{part:<{_WIDTH}}" for part in parts).rstrip() for parts in zip(*padded, strict=True)]


def _section(title: str, entries: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a titled list with one wrapped entry for each category that has members; nothing if none has any."""
    shown = {name: ", ".join(members) for name, members in entries.items() if members}
    indented = {name: textwrap.wrap(members, 4 * _WIDTH) for name, members in shown.items()}
    lines = [
        f"  {name if place == 0 else '':<{_WIDTH}}{part}"
        for name, parts in indented.items()
        for place, part in enumerate(parts)
    ]
    return ["", title, *lines] if lines else []
