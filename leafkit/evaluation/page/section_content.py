"""What one section of the page shows: rows, means, curves and provenance of a report, and its main retentions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.grid import FULL_PRECISION
from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.metrics import MAIN_METRIC
from leafkit.evaluation.provenance import Provenance
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import CollectionMeans, ResultRow, mean_or_none


@dataclass(frozen=True)
class Series:
    """One line or bar colour of a plot: a student in a mode. The teacher and BM25 have no student."""

    mode: str
    student: str | None

    @property
    def name(self) -> str:
        """The name in legends."""
        return self.mode if self.student is None else f"{self.student}, {self.mode}"


def series_of(row: ResultRow) -> Series:
    """Return the series that ``row`` belongs to."""
    return Series(row.mode, row.student)


@dataclass(frozen=True)
class Retention:
    """A student's score divided by its teacher's, the interval if known, and the collections measured."""

    value: float
    interval: Interval | None
    collections: tuple[str, ...]


@dataclass(frozen=True)
class SectionContent:
    """The rows, means, provenance and curves of one report, or of several merged reports."""

    rows: tuple[ResultRow, ...]
    means: tuple[CollectionMeans, ...]
    sources: tuple[Provenance, ...]
    curves: dict[str, tuple[CurvePoint, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, report: Report) -> SectionContent:
        """Return the content of a section about one report."""
        return cls(report.rows, report.means, (report.provenance,), report.curves)

    @property
    def all_series(self) -> list[Series]:
        """Every series, in the order of the rows."""
        return list(dict.fromkeys(series_of(row) for row in self.rows))

    @property
    def cell(self) -> tuple[int, str] | None:
        """The dim and precision of the widest grid cell, preferably in float32; None if no row has vectors."""
        cells = [(row.dim, row.precision) for row in self.rows if row.dim and row.precision]
        return max(cells, key=lambda cell: (cell[0], cell[1] == FULL_PRECISION), default=None)

    @property
    def averaged_rows(self) -> list[ResultRow]:
        """The rows that are averaged over collections: those of retrieval, or all rows if there are none."""
        return [row for row in self.rows if row.main == MAIN_METRIC] or list(self.rows)

    def retention_of(self, series: Series) -> Retention | None:
        """Return the mean retention in the widest cell, or None if it was not measured.

        The mean with the most collections is used. Without any, the rows of the collections are averaged, and the
        interval is known only for a single collection.
        """
        for means in sorted(self.means, key=lambda means: -len(means.collections)):
            for row, value in self._retentions(means.rows, series):
                return Retention(value, row.retention_interval, means.collections)
        found = self._retentions(self.averaged_rows, series)
        mean = mean_or_none([value for _, value in found])
        interval = found[0][0].retention_interval if len(found) == 1 else None
        return None if mean is None else Retention(mean, interval, tuple(row.data for row, _ in found))

    def _retentions(self, rows: Sequence[ResultRow], series: Series) -> list[tuple[ResultRow, float]]:
        """Return the rows of ``series`` in the widest cell that have a retention, with this retention."""
        found = [row for row in rows if series_of(row) == series and (row.dim, row.precision) == self.cell]
        return [(row, row.retention) for row in found if row.retention is not None]
