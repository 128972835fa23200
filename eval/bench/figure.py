"""A measured figure: the median of its rounds and their spread, ours beside theirs, and what was promised."""

from __future__ import annotations

import dataclasses
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
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return f"{_short(self.median)} ({_short(low)} to {_short(high)})"


@dataclass(frozen=True)
class Promise:
    """Something to hold: ``got`` at least (or at most) ``wanted``."""

    what: str
    got: float
    wanted: float
    at_most: bool = False

    @property
    def kept(self) -> bool:
        """Whether it holds."""
        return self.got <= self.wanted if self.at_most else self.got >= self.wanted

    def __str__(self) -> str:
        return f"{self.what} {'<=' if self.at_most else '>='} {self.wanted:g}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the report. ``more_is_better`` says how to read the unit.

    ``facts`` are what a reader needs to judge it: counts, threads, precisions, agreement of the results.
    """

    name: str
    unit: str
    ours: Spread
    theirs: Spread | None = None
    more_is_better: bool = False
    least_ratio: float | None = None
    promises: tuple[Promise, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times better ours is, by the medians; None where there is nothing to compare with."""
        if self.theirs is None:
            return None
        ours, theirs = self.ours.median, self.theirs.median
        return ours / theirs if self.more_is_better else theirs / ours

    @property
    def all_promises(self) -> tuple[Promise, ...]:
        """Everything that was promised of it, the ratio included."""
        if self.least_ratio is None or self.ratio is None:
            return self.promises
        return (Promise("ratio", self.ratio, self.least_ratio), *self.promises)

    def verdict(self) -> str:
        """``met``, ``MISSED`` with what was missed, or nothing for a row without a promise."""
        missed = [f"{promise} (got {_short(promise.got)})" for promise in self.all_promises if not promise.kept]
        return f"MISSED: {'; '.join(missed)}" if missed else "met" if self.all_promises else ""

    def to_json(self) -> dict[str, Any]:
        """Every value measured, the medians, and each promise with what was got."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": _values(self.ours),
            "theirs": None if self.theirs is None else _values(self.theirs),
            "ratio": self.ratio,
            "promises": [{**dataclasses.asdict(p), "kept": p.kept} for p in self.all_promises],
            "facts": self.facts,
        }


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, a row each, with the facts below."""
    header = ("", "unit", "leafkit", "sentence-transformers", "ratio", "wanted", "")
    rows = [header, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header) - 1)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip() for row in rows]
    facts = [f"{f.name}: " + ", ".join(f"{k} {_fact(v)}" for k, v in f.facts.items()) for f in figures if f.facts]
    return "\n".join([*lines, "", *facts])


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    wanted = ", ".join(map(str, figure.all_promises))
    theirs = "" if figure.theirs is None else str(figure.theirs)
    return (figure.name, figure.unit, str(figure.ours), theirs, ratio, wanted, figure.verdict())


def _values(spread: Spread) -> dict[str, Any]:
    return {"median": spread.median, "values": list(spread.values)}


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _fact(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
