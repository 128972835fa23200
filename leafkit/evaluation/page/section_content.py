"""Reports that can be shown as one: same space and encoder, same data, and no figure that differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.grid import FULL_PRECISION
from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.metrics import MAIN_METRIC
from leafkit.evaluation.report import Provenance, Report
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow, mean_or_none


@dataclass(frozen=True)
class Series:
    """A student in a mode; the teacher and BM25 have no student."""

    mode: str
    student: str | None

    @property
    def name(self) -> str:
        """What a legend calls it."""
        return self.mode if self.student is None else f"{self.student}, {self.mode}"


@dataclass(frozen=True)
class Retention:
    """What a student keeps of its teacher: a ratio, its interval where it is known, and over which data."""

    retention: float
    interval: Interval | None
    over: tuple[str, ...]


@dataclass(frozen=True)
class SectionContent:
    """The rows of one or more reports that belong together."""

    rows: tuple[ResultRow, ...]
    means: tuple[CollectionMeans, ...]
    sources: tuple[Provenance, ...]
    curves: dict[str, tuple[CurvePoint, ...]] = field(default_factory=dict)

    @property
    def all_series(self) -> list[Series]:
        """Everything measured, in the order of the rows."""
        return list(dict.fromkeys(series_of(row) for row in self.rows))

    @property
    def cell(self) -> tuple[int, str] | None:
        """The widest cell of the grid, in float32 where it was measured; None where there are no vectors."""
        cells = [(row.dim, row.precision) for row in self.rows if row.dim and row.precision]
        return max(cells, key=lambda cell: (cell[0], cell[1] == FULL_PRECISION), default=None)

    @property
    def compared(self) -> list[ResultRow]:
        """The rows that a mean over collections is about: retrieval; the other tasks where there is none."""
        return [row for row in self.rows if row.main == MAIN_METRIC] or list(self.rows)

    def retention_of(self, series: Series) -> Retention | None:
        """Retention in the widest cell over as many collections as have a mean; None where it was not measured."""
        for means in sorted(self.means, key=lambda means: -len(means.collections)):
            for row in self._in_cell(means.rows, series):
                return Retention(row.retention, row.retention_interval, means.collections)
        rows = self._in_cell(self.compared, series)
        retention = mean_or_none([row.retention for row in rows])
        interval = rows[0].retention_interval if len(rows) == 1 else None
        return None if retention is None else Retention(retention, interval, tuple(row.data for row in rows))

    def _in_cell(self, rows: Sequence[ResultRow], series: Series) -> list[ResultRow]:
        found = [row for row in rows if series_of(row) == series and (row.dim, row.precision) == self.cell]
        return [row for row in found if row.retention is not None]


def series_of(row: ResultRow) -> Series:
    """What ``row`` is about."""
    return Series(row.mode, row.student)


def sections(reports: Sequence[Report]) -> list[SectionContent]:
    """As few sections as hold all ``reports``, in their order; one that contradicts the others stands alone."""
    found: list[SectionContent] = []
    for report in reports:
        at = next((at for at, section in enumerate(found) if _fits(section, report)), None)
        if at is None:
            found.append(SectionContent(report.rows, report.means, (report.provenance,), report.curves))
        else:
            found[at] = _joined(found[at], report)
    return found


def _fits(section: SectionContent, report: Report) -> bool:
    ours, theirs = section.sources, report.provenance
    known = {_place(row): row for row in section.rows}
    return (
        ours[0].space == theirs.space
        and ours[0].encoder == theirs.encoder
        and all(_agree(source.students, theirs.students) for source in ours)
        and all(_agree(_data(source), _data(theirs)) for source in ours)
        and all(known.get(_place(row), row) == row for row in report.rows)
    )


def _joined(section: SectionContent, report: Report) -> SectionContent:
    means = {found.collections: found.rows for found in section.means}
    for found in report.means:
        means[found.collections] = _union(means.get(found.collections, ()), found.rows)
    return SectionContent(
        rows=_union(section.rows, report.rows),
        means=tuple(CollectionMeans(collections=collections, rows=rows) for collections, rows in means.items()),
        sources=(*section.sources, report.provenance),
        curves=section.curves | report.curves,
    )


def _union(first: Sequence[ResultRow], second: Sequence[ResultRow]) -> tuple[ResultRow, ...]:
    """All rows once, those of one collection side by side."""
    rows = [*first, *(row for row in second if row not in first)]
    order = list(dict.fromkeys(row.data for row in rows))
    return tuple(sorted(rows, key=lambda row: order.index(row.data)))


def _place(row: ResultRow) -> tuple[object, ...]:
    return row.data, row.mode, row.student, row.dim, row.precision


def _data(source: Provenance) -> dict[str, dict[str, str]]:
    """What was read, by name; where it lay does not matter."""
    return {one["name"]: {key: value for key, value in one.items() if key != "source"} for one in source.data}


def _agree(one: dict[str, object], other: dict[str, object]) -> bool:
    return all(other.get(name, value) == value for name, value in one.items())
