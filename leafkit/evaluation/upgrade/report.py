"""The figures of an upgrade: to JSON and as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leafkit.evaluation.bootstrap import Interval
from leafkit.evaluation.provenance import Provenance
from leafkit.evaluation.report import aligned
from leafkit.evaluation.result_tables import percent
from leafkit.evaluation.upgrade.agreement import Agreement
from leafkit.evaluation.upgrade.cost import Cost
from leafkit.evaluation.upgrade.judged import Figure
from leafkit.evaluation.upgrade.verdict import Verdict
from leafkit.evaluation.upgrade.ways import OLD
from leafkit.teachers.api.limits import dollars

Line = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WayFigures:
    """What was measured of one ``way``; ``what`` says what the way does.

    impossible: why the way cannot be taken or measured; None if it can.
    ndcg: nDCG@10; ``of_reembedding`` and ``of_old``: its share of that of the new and of the old model alone.
    queries, documents: the agreement with the old ranking, over queries and over documents that search as queries.
    """

    way: str
    what: str
    impossible: str | None
    ndcg: Figure | None
    of_reembedding: Figure | None
    of_old: Figure | None
    queries: Agreement | None
    documents: Agreement | None
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many texts there are and were measured.

    index: the documents of the old index. documents: those that were measured. fitted: the texts that the bridges were
    fitted on. judged, queries, probes: the judged queries, the queries whose old ranking is known, and the documents
    that search as queries.
    """

    index: int
    documents: int
    fitted: int
    judged: int
    queries: int
    probes: int


@dataclass(frozen=True, kw_only=True)
class UpgradeReport:
    """The ways to leave the old model, measured, and which to take.

    old, new: the two spaces as JSON. student: the name of the student, None without one.
    verdict: which way to take. today: which way keeps what the old model finds today; None if none does, or without
    judged queries whose old vectors are known.
    missing: what could not be measured, and how to supply what it needs.
    """

    old: dict[str, Any]
    new: dict[str, Any]
    student: str | None
    counts: Counts
    ways: tuple[WayFigures, ...]
    verdict: Verdict
    today: Verdict | None
    missing: tuple[str, ...]
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """Return the report as a dict for `json.dumps`; shares are fractions, not per cent."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """Return aligned plain text: the ways with their figures, what they cost, the verdict and what is missing."""
        parts = [self._head(), aligned(self._quality()), aligned(self._costs()), self._verdict()]
        if self.missing:
            parts.append("\n".join(["missing:", *(f"  {one}" for one in self.missing)]))
        return "\n\n".join(parts)

    def _head(self) -> str:
        counts = self.counts
        searched = [
            f"{number:,} {name}"
            for number, name in (
                (counts.judged, "judged queries"),
                (counts.queries, "queries with a known old ranking"),
                (counts.probes, "documents that search as queries"),
            )
            if number
        ]
        return (
            f"from {self.old['teacher']} (space {self.old['id']}, {counts.index:,} documents) "
            f"to {self.new['teacher']} (space {self.new['id']})\n"
            f"measured on {counts.documents:,} documents with {', '.join(searched)}; "
            f"bridges fitted on {counts.fitted:,} texts, each text mapped by a bridge that was fitted without it"
        )

    def _quality(self) -> list[Line]:
        columns = [
            ("nDCG@10", lambda way: _number(way.ndcg)),
            ("of re-embedding", lambda way: _share(way.of_reembedding)),
            ("of the old model", lambda way: _share(way.of_old)),
            ("overlap@10, queries", lambda way: _overlap(way.queries)),
            ("rank agreement", lambda way: _rank(way.queries)),
            ("overlap@10, documents", lambda way: _overlap(way.documents)),
            ("rank agreement", lambda way: _rank(way.documents)),
        ]
        used = [(title, show) for title, show in columns if any(show(way) != "-" for way in self.ways)]
        lines: list[Line] = [("way", *(title for title, _ in used))]
        for way in self.ways:
            cells = [show(way) for _, show in used]
            if way.impossible is not None or any(cell != "-" for cell in cells):
                lines.append((self._name(way), *cells))
        return lines

    def _costs(self) -> list[Line]:
        columns: list[tuple[str, Callable[[Cost], str]]] = [
            ("further texts to embed", lambda cost: f"{cost.texts:,}"),
            ("tokens", lambda cost: "?" if cost.tokens is None else f"{cost.tokens:,}"),
            ("price", lambda cost: "-" if cost.dollars is None else dollars(cost.dollars)),
            ("time", lambda cost: _duration(cost.seconds)),
            ("index rewritten", lambda cost: "yes" if cost.rewrites else "no"),
            ("training", lambda cost: "-" if cost.training_seconds is None else _duration(cost.training_seconds)),
            ("a query", lambda cost: _milliseconds(cost.query_milliseconds)),
        ]
        ways = [way for way in self.ways if way.way != OLD and way.impossible is None]
        used = [(title, show) for title, show in columns if any(show(way.cost) != "-" for way in ways)]
        rows = [(self._name(way), *(show(way.cost) for _, show in used)) for way in ways]
        return [("way", *(title for title, _ in used)), *rows]

    def _verdict(self) -> str:
        lines = [f"take: {_because(self.verdict)}"]
        if self.today is not None:
            lines.append(f"to stay as good as today: {_because(self.today)}")
        elif any(way.way == OLD and way.ndcg is not None for way in self.ways):
            lines.append("to stay as good as today: no way is good enough")
        return "\n".join([*lines, f"rule: {self.verdict.rule}"])

    def _name(self, way: WayFigures) -> str:
        name = f"{way.way} {self.student}" if way.way == "student" and self.student else way.way
        return name if way.impossible is None else f"{name} (not possible)"


def _because(verdict: Verdict) -> str:
    unsure = " (an interval reaches across the threshold: measure more queries to be sure)"
    return f"{verdict.way}, because {verdict.reason}{'' if verdict.is_sure else unsure}"


def _number(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "-"
    return f"{figure.value:.3f}{_brackets(figure.interval, 3)}"


def _share(figure: Figure | None) -> str:
    return "-" if figure is None else percent(figure.value, figure.interval)


def _overlap(agreement: Agreement | None) -> str:
    return "-" if agreement is None else percent(agreement.overlap, agreement.overlap_interval)


def _rank(agreement: Agreement | None) -> str:
    return "-" if agreement is None else f"{agreement.rank:.2f}{_brackets(agreement.rank_interval, 2)}"


def _brackets(interval: Interval | None, digits: int) -> str:
    return "" if interval is None else f" [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _milliseconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f} ms"


def _duration(seconds: float | None) -> str:
    """Format ``seconds`` in the largest unit of which there are at least two."""
    if seconds is None:
        return "?"
    units = ((86400, "days"), (3600, "hours"), (60, "minutes"))
    size, name = next(((size, name) for size, name in units if seconds >= 2 * size), (1, "s"))
    return f"{seconds / size:,.0f} {name}"
