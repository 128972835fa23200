"""The columns of a table of results, and how each figure is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.metrics import METRICS
from leafkit.evaluation.result_rows import ResultRow

_TITLES = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map": "MAP"}

Column = tuple[str, Callable[[ResultRow], str]]


def _metric_column(name: str, main: str) -> Column:
    def show(row: ResultRow) -> str:
        value = f"{row.metrics[name]:.4f}"
        return f"{value} {_span(row.interval, 1, 4)}" if name == main and row.interval else value

    return metric_title(name), show


def metric_title(name: str) -> str:
    """A metric's name as people write it."""
    return _TITLES.get(name, name)


def _span(interval: Interval | None, factor: float, digits: int) -> str:
    if interval is None:
        return ""
    return f"[{interval.low * factor:.{digits}f}, {interval.high * factor:.{digits}f}]"


def percent(value: float | None, interval: Interval | None) -> str:
    """A ratio in per cent with its interval, or a dash."""
    return "-" if value is None else f"{value:.1%} {_span(interval, 100, 1)}".strip()


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _columns(rows: Sequence[ResultRow]) -> list[Column]:
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
        ("retention", lambda row: percent(row.retention, row.retention_interval)),
    ]
    if len({(row.dim, row.precision) for row in rows if row.dim}) > 1:
        columns.append(("of full teacher", lambda row: percent(row.of_full, row.of_full_interval)))
    columns += [
        ("queries", lambda row: _or_dash(row.queries)),
        ("documents", lambda row: _or_dash(row.documents)),
    ]
    return [column for column in columns if any(column[1](row) != "-" for row in rows)]


def result_tables(rows: Sequence[ResultRow]) -> list[list[list[str]]]:
    """Each table's lines of cells, titles first; rows with other metrics start a table of their own."""
    found = []
    for _, group in groupby(rows, key=lambda row: (row.main, *row.metrics)):
        block = list(group)
        columns = _columns(block)
        found.append([[title for title, _ in columns], *([show(row) for _, show in columns] for row in block)])
    return found
