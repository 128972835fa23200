"""Rows of results as tables of text: which columns a table has, and how each figure is formatted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.metrics import METRICS
from leafkit.evaluation.result_rows import ResultRow

_TITLES = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10", "map": "MAP"}

Column = tuple[str, Callable[[ResultRow], str]]
"""A column's title, and the function that formats a row's cell in that column."""


def result_tables(rows: Sequence[ResultRow]) -> list[list[list[str]]]:
    """Return tables as lists of lines of cells, titles first; rows with other metrics start a new table."""
    tables = []
    for _, group in groupby(rows, key=lambda row: (row.main, *row.metrics)):
        block = list(group)
        columns = _columns(block)
        tables.append([[title for title, _ in columns], *([format_(row) for _, format_ in columns] for row in block)])
    return tables


def _columns(rows: Sequence[ResultRow]) -> list[Column]:
    """Return the columns of a table; a column with a dash in every row is omitted."""
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


def _metric_column(name: str, main: str) -> Column:
    def format_(row: ResultRow) -> str:
        value = f"{row.metrics[name]:.4f}"
        return f"{value} {_brackets(row.interval, 1, 4)}" if name == main and row.interval else value

    return metric_title(name), format_


def metric_title(name: str) -> str:
    """Return a metric's name as papers write it."""
    return _TITLES.get(name, name)


def percent(value: float | None, interval: Interval | None) -> str:
    """Format a fraction in per cent with its interval in brackets; None becomes a dash."""
    return "-" if value is None else f"{value:.1%} {_brackets(interval, 100, 1)}".strip()


def _brackets(interval: Interval | None, factor: float, digits: int) -> str:
    if interval is None:
        return ""
    return f"[{interval.low * factor:.{digits}f}, {interval.high * factor:.{digits}f}]"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
