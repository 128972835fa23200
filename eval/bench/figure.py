"""A measured figure: median and spread over the rounds for both sides, and the requirements that it must meet."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The values of all rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the values."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{_short(self.median)} ({_short(low)} to {_short(high)})"


@dataclass(frozen=True)
class Requirement:
    """A requirement: ``got`` must be at least (or at most) ``expected``."""

    what: str
    got: float
    expected: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the requirement is met."""
        return self.got <= self.expected if self.at_most else self.got >= self.expected

    def __str__(self) -> str:
        return f"{self.what} {'<=' if self.at_most else '>='} {self.expected:g}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the report. ``more_is_better`` is True for rates and False for times and sizes.

    ``facts`` are what a reader needs to judge the figure: counts, threads, precisions, agreement of the results.
    """

    name: str
    unit: str
    ours: Spread
    theirs: Spread | None = None
    more_is_better: bool = False
    least_ratio: float | None = None
    requirements: tuple[Requirement, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times better our median is; None without another side."""
        if self.theirs is None:
            return None
        ours, theirs = self.ours.median, self.theirs.median
        return ours / theirs if self.more_is_better else theirs / ours

    @property
    def all_requirements(self) -> tuple[Requirement, ...]:
        """All requirements, including the least ratio."""
        if self.least_ratio is None or self.ratio is None:
            return self.requirements
        return (Requirement("ratio", self.ratio, self.least_ratio), *self.requirements)

    def verdict(self) -> str:
        """Return ``met``, ``MISSED`` with the missed requirements, or nothing for a row without requirements."""
        missed = [f"{one} (got {_short(one.got)})" for one in self.all_requirements if not one.met]
        return f"MISSED: {'; '.join(missed)}" if missed else "met" if self.all_requirements else ""

    def to_json(self) -> dict[str, Any]:
        """Return every measured value, the medians, and each requirement (``promises`` in the file) with its value."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": _values(self.ours),
            "theirs": None if self.theirs is None else _values(self.theirs),
            "ratio": self.ratio,
            "promises": [
                {"what": one.what, "got": one.got, "wanted": one.expected, "at_most": one.at_most, "kept": one.met}
                for one in self.all_requirements
            ],
            "facts": self.facts,
        }


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a text table, with their facts below."""
    header = ("", "unit", "leafkit", "sentence-transformers", "ratio", "expected", "")
    rows = [header, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header) - 1)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]
    facts = [f"{f.name}: " + ", ".join(f"{k} {_fact(v)}" for k, v in f.facts.items()) for f in figures if f.facts]
    return "\n".join([*lines, "", *facts])


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    expected = ", ".join(map(str, figure.all_requirements))
    theirs = "" if figure.theirs is None else str(figure.theirs)
    return (figure.name, figure.unit, str(figure.ours), theirs, ratio, expected, figure.verdict())


def _values(spread: Spread) -> dict[str, Any]:
    return {"median": spread.median, "values": list(spread.values)}


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _fact(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
