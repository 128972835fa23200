"""What an evaluation found: one row per data set, mode and grid cell, and where the figures come from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .bootstrap import Interval
from .metrics import METRICS


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system on one data set in one cell of the grid.

    ``main`` names the metric that the interval and the retentions are about. ``retention`` is that metric over
    the teacher's in the same cell, ``of_full`` over the teacher's at full width in float32; both are ratios and
    None where the teacher was not measured. ``queries`` counts queries, or the scored texts of a task without queries.
    """

    data: str
    mode: str
    student: str | None
    dim: int | None
    precision: str | None
    metrics: dict[str, float]
    main: str
    interval: Interval | None = None
    retention: float | None = None
    retention_interval: Interval | None = None
    of_full: float | None = None
    of_full_interval: Interval | None = None
    beir_ndcg: float | None = None
    queries: int | None = None
    documents: int | None = None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is needed to get the same figures again."""

    command: str
    leafkit: str
    commit: str | None
    space: dict[str, Any] | None
    students: dict[str, str]
    encoder: str
    data: list[dict[str, str]]
    seed: int
    resamples: int
    packages: dict[str, str]
    libraries: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Report:
    """The rows of an evaluation and their provenance."""

    rows: tuple[Row, ...]
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """Everything, as what `json.dumps` takes; metrics and retentions are fractions, not per cent.

        What has no value (a correlation with a constant) is None, since JSON has no name for it.
        """
        content: dict[str, Any] = _plain(dataclasses.asdict(self))
        return content

    def table(self) -> str:
        """Aligned plain text: one line per row, one column per metric, retentions in per cent.

        Rows with other metrics (a classification after a retrieval) start a new block with its own header.
        """
        blocks = [_block(list(rows)) for _, rows in groupby(self.rows, key=lambda row: (row.main, *row.metrics))]
        return "\n\n".join(blocks) + "\n\n" + self._footer()

    def _footer(self) -> str:
        source = self.provenance
        space = f"space {source.space['id']}, " if source.space else ""
        commit = f" ({source.commit})" if source.commit else ""
        measured = [f"[95 % interval over queries, {source.resamples} resamples, seed {source.seed}]; "]
        shown = measured if any(row.interval for row in self.rows) else []
        return "".join(shown) + f"{space}leafkit {source.leafkit}{commit}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_TITLES = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map": "MAP"}

Column = tuple[str, Callable[[Row], str]]


def _metric_column(name: str, main: str) -> Column:
    def show(row: Row) -> str:
        value = f"{row.metrics[name]:.4f}"
        return f"{value} {_span(row.interval, 1, 4)}" if name == main and row.interval else value

    return _TITLES.get(name, name), show


def _span(interval: Interval | None, factor: float, digits: int) -> str:
    if interval is None:
        return ""
    return f"[{interval.low * factor:.{digits}f}, {interval.high * factor:.{digits}f}]"


def _percent(value: float | None, interval: Interval | None) -> str:
    return "-" if value is None else f"{value:.1%} {_span(interval, 100, 1)}".strip()


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _columns(rows: Sequence[Row]) -> list[Column]:
    """The columns that say something: those that are the same dash in every row are left out."""
    main = rows[0].main
    names = [name for name in METRICS if name in rows[0].metrics]
    names += [name for name in rows[0].metrics if name not in names]
    columns: list[Column] = [
        ("data", lambda row: row.data),
        ("mode", lambda row: row.mode),
        ("student", lambda row: _or_dash(row.student)),
        ("dim", lambda row: _or_dash(row.dim)),
        ("precision", lambda row: _or_dash(row.precision)),
        *(_metric_column(name, main) for name in names),
        ("BEIR nDCG@10", lambda row: "-" if row.beir_ndcg is None else f"{row.beir_ndcg:.5f}"),
        ("retention", lambda row: _percent(row.retention, row.retention_interval)),
    ]
    if len({(row.dim, row.precision) for row in rows if row.dim}) > 1:
        columns.append(("of full teacher", lambda row: _percent(row.of_full, row.of_full_interval)))
    columns += [
        ("queries", lambda row: _or_dash(row.queries)),
        ("documents", lambda row: _or_dash(row.documents)),
    ]
    return [column for column in columns if any(column[1](row) != "-" for row in rows)]


def _block(rows: Sequence[Row]) -> str:
    columns = _columns(rows)
    lines = [[title for title, _ in columns], *([show(row) for _, show in columns] for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
