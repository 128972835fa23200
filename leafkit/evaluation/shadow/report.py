"""The figures of a shadow run, as JSON and as text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import ArrayLike

from leafkit.evaluation.bootstrap import RESAMPLES, Interval, interval, resampled_means
from leafkit.evaluation.report import aligned
from leafkit.evaluation.result_tables import percent
from leafkit.evaluation.shadow.tally import ShownQuery, Tally
from leafkit.version import __version__

_WIDEST = 48  # characters of a query and of a hit in the table


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two encoders: its effort, the student's name, and the milliseconds of a search with it.

    ``median`` and ``p95`` are milliseconds of encoding and searching one query, and of 95 % of the queries.
    """

    effort: str
    name: str
    median: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class ShadowReport:
    """How the hits of ``tried`` differ from those of ``reference`` over real queries of an index.

    blank: lines that were skipped because they held no query.
    depth: the hits that are compared for each query.
    overlap: the mean share of the reference's hits that the tried encoder found too, with ``overlap_interval``.
    same_best: the share of queries whose best hit is the same, with ``same_best_interval``.
    best_ranks: the share of queries by the tried encoder's rank of the reference's best hit.
    mean_move, stayed: by how many ranks a hit moves that both found, and the share of those that keep their rank.
    worst: the queries that differ most.
    """

    index: str
    space: str
    documents: int
    tried: Side
    reference: Side
    queries: int
    blank: int
    depth: int
    overlap: float
    overlap_interval: Interval | None
    same_best: float
    same_best_interval: Interval | None
    best_ranks: dict[str, float]
    mean_move: float | None
    stayed: float | None
    worst: tuple[ShownQuery, ...]
    seed: int
    resamples: int = RESAMPLES
    leafkit: str = __version__

    @property
    def title(self) -> str:
        """What is compared with what."""
        return f"{_named(self.tried)} against {_named(self.reference)}"

    @property
    def subject(self) -> str:
        """Over how many queries of which index."""
        blank = f" ({self.blank:,} blank line{'s' if self.blank > 1 else ''} skipped)" if self.blank else ""
        return f"{self.queries:,} queries{blank} on the {self.documents:,} documents of {self.index}"

    def figures(self) -> list[tuple[str, str]]:
        """Return each figure as text, with its name."""
        tried, reference = self.tried, self.reference
        ranks = ", ".join(f"{place}: {share:.1%}" for place, share in self.best_ranks.items())
        found = [
            (f"overlap@{self.depth}", percent(self.overlap, self.overlap_interval)),
            ("same best hit", percent(self.same_best, self.same_best_interval)),
            (f"rank of {reference.effort}'s best hit", ranks),
        ]
        if self.mean_move is not None and self.stayed is not None:
            move = f"{self.mean_move:.2f} ranks on average where both find a document; {self.stayed:.1%} keep theirs"
            found.append(("rank moves", move))
        times = "; ".join(
            f"{side.effort} {side.median:.2f} (95 % within {side.p95:.2f})" for side in (tried, reference)
        )
        return [*found, ("milliseconds, median", times)]

    def to_json(self) -> dict[str, Any]:
        """Return the report as a dict for `json.dumps`; shares are fractions, not per cent."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """Return aligned plain text: the figures, and one line for each of the worst queries."""
        head = f"{self.title}\n{self.subject}\n\n{aligned(self.figures())}"
        if not self.worst:
            return head
        titles = ("overlap", "rank", "query", f"best of {self.tried.effort}", f"best of {self.reference.effort}")
        lines = [titles, *map(_line, self.worst)]
        return f"{head}\n\nthe queries that differ most\n{aligned(lines)}"


def make_report(
    tally: Tally, *, sides: tuple[tuple[str, str], tuple[str, str]], seed: int, **facts: Any
) -> ShadowReport:
    """Return the report of ``tally``; ``sides`` are effort and name of both encoders, ``facts`` the other fields."""
    shared = numpy.arange(tally.depth + 1) / tally.depth
    best = (numpy.arange(tally.depth + 1) == 0).astype(numpy.float64)
    both = int((tally.shared * numpy.arange(tally.depth + 1)).sum())
    tried, reference = (
        Side(effort=effort, name=name, **_milliseconds(times))
        for (effort, name), times in zip(sides, tally.milliseconds, strict=True)
    )
    return ShadowReport(
        tried=tried,
        reference=reference,
        queries=tally.queries,
        depth=tally.depth,
        overlap=float(shared @ tally.shared) / tally.queries,
        overlap_interval=interval(resampled_means(shared[None], counts=tally.shared, seed=seed)[:, 0]),
        same_best=int(tally.best_ranks[0]) / tally.queries,
        same_best_interval=interval(resampled_means(best[None], counts=tally.best_ranks, seed=seed)[:, 0]),
        best_ranks=_by_place(tally),
        mean_move=tally.moves / both if both else None,
        stayed=tally.stayed / both if both else None,
        worst=tally.worst(),
        seed=seed,
        **facts,
    )


def _milliseconds(times: ArrayLike) -> dict[str, float]:
    median, p95 = numpy.percentile(numpy.asarray(times), [50, 95])
    return {"median": float(median), "p95": float(p95)}


def _by_place(tally: Tally) -> dict[str, float]:
    """Return the share of queries whose best hit has rank 1, 2 to 3, a lower one, or is not found."""
    ranks, depth = tally.best_ranks / tally.queries, tally.depth
    places = {"1": ranks[:1], "2-3": ranks[1 : min(3, depth)], f"4-{depth}": ranks[3:depth], "not found": ranks[depth:]}
    return {place: float(shares.sum()) for place, shares in places.items() if len(shares)}


def _named(side: Side) -> str:
    return f"{side.effort} ({side.name})"


def _line(query: ShownQuery) -> tuple[str, ...]:
    rank = "-" if query.best_rank is None else str(query.best_rank)
    best = (f"{hits[0].id}  {hits[0].text}" for hits in (query.tried, query.reference))
    return f"{query.overlap:.0%}", rank, *(_cut(" ".join(text.split())) for text in (query.query, *best))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
