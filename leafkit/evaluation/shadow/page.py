"""A shadow report as one HTML file: the figures, and the hits of the queries that differ most side by side."""

from __future__ import annotations

from collections.abc import Sequence

from leafkit.evaluation.page.document import document
from leafkit.evaluation.page.html import Html, element
from leafkit.evaluation.result_tables import percent
from leafkit.evaluation.shadow.report import ShadowReport, Side
from leafkit.evaluation.shadow.tally import ShownHit, ShownQuery


def page(report: ShadowReport) -> str:
    """Return the whole page of ``report``; all texts of others in it are escaped."""
    figures = [element(tag, text) for pair in report.figures() for tag, text in zip(("dt", "dd"), pair, strict=True)]
    return document(
        report.title,
        element("h1", report.title),
        element("p", report.subject, class_="soft"),
        _cards(report),
        element("dl", *figures, class_="facts"),
        *_worst(report),
        element("p", f"Space {report.space}, {report.resamples} resamples, leafkit {report.leafkit}.", class_="soft"),
    )


def _cards(report: ShadowReport) -> Html:
    shown = (
        (f"overlap@{report.depth}", percent(report.overlap, report.overlap_interval)),
        ("same best hit", percent(report.same_best, report.same_best_interval)),
        (f"milliseconds of {report.tried.effort}", f"{report.tried.median:.2f}"),
        (f"milliseconds of {report.reference.effort}", f"{report.reference.median:.2f}"),
    )
    pairs = []
    for name, text in shown:
        value, _, span = text.partition(" ")
        pairs.append(element("div", element("dt", name), element("dd", element("strong", value), span)))
    return element("div", element("div", element("dl", *pairs), class_="card"), class_="cards")


def _worst(report: ShadowReport) -> list[Html]:
    if not report.worst:
        return [element("p", "No query has other hits, or hits in another order.")]
    note = "Fewest shared hits first. A hit that the other side did not find is marked."
    parts = [element("h2", "Queries that differ most"), element("p", note, class_="soft")]
    for query in report.worst:
        parts += [element("h3", query.query), element("p", _facts(query, report), class_="soft")]
        sides = (_side(report.tried, query.tried), _side(report.reference, query.reference))
        parts.append(element("div", *sides, class_="cards"))
    return parts


def _facts(query: ShownQuery, report: ShadowReport) -> str:
    effort = report.tried.effort
    place = f"{effort} does not find" if query.best_rank is None else f"rank {query.best_rank} in {effort} is"
    return f"overlap {query.overlap:.0%}; {place} the best hit of {report.reference.effort}"


def _side(side: Side, hits: Sequence[ShownHit]) -> Html:
    lines = [
        element("li", element("b", hit.id), " ", hit.text, class_="shared" if hit.shared else "alone") for hit in hits
    ]
    return element("div", element("h3", side.effort), element("ol", *lines), class_="card")
