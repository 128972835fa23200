"""Build the page: headline, tables, plots and provenance in one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leafkit.evaluation.page.document import check_file, document
from leafkit.evaluation.page.html import Html, element, joined
from leafkit.evaluation.page.plot_blocks import plot_blocks
from leafkit.evaluation.page.provenance_block import provenance_block
from leafkit.evaluation.page.section_content import SectionContent, Series
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.result_tables import metric_title, percent, result_tables
from leafkit.extras import import_optional

_NAMES, _WORDS = {"data", "student"}, {"mode", "precision"}
_SIDES = {"asymmetric": "encodes queries only", "standard": "encodes queries and documents"}


def check_page(path: Path) -> None:
    """Check that a page can be written to ``path``, so that a mistake shows before anything is measured.

    Raises `OutputError` if ``path`` is a folder or its parent folder is missing, `MissingExtraError` without
    matplotlib.
    """
    check_file(path)
    import_optional("matplotlib")


def page(reports: Sequence[Report]) -> str:
    """Return one HTML page with a section for each report."""
    return page_of_sections([SectionContent.of(report) for report in reports])


def page_of_sections(sections: Sequence[SectionContent]) -> str:
    """Return one HTML page of ``sections``."""
    title = "; ".join(dict.fromkeys(map(_title, sections)))
    return document(title, *(_section(section, number) for number, section in enumerate(sections)))


def _section(section: SectionContent, number: int) -> Html:
    parts = [element("h1", _title(section)), *_headline(section), *plot_blocks(section, f"s{number}")]
    for means in section.means:
        over = f"Means over {', '.join(means.collections)}. Retention is averaged over the collections."
        parts += [element("h2", f"Mean over {len(means.collections)} collections"), element("p", over, class_="soft")]
        parts += _tables(means.rows)
    parts += [element("h2", "All figures"), *_tables(section.rows)]
    return element("section", *parts, *provenance_block(section.sources))


def _title(section: SectionContent) -> str:
    space = section.sources[0].space or {}
    students = list(dict.fromkeys(series.student for series in section.all_series if series.student))
    teacher = space.get("teacher", "an unknown teacher")
    return f"{', '.join(students)}: distilled from {teacher}" if students else f"Teacher {teacher}"


def _headline(section: SectionContent) -> list[Html]:
    """Return the retention of each student in large figures, or a note that there are no students."""
    students: dict[str, list[Series]] = {}
    for series in section.all_series:
        if series.student is not None:
            students.setdefault(series.student, []).append(series)
    if not students:
        return [element("p", "The teacher alone: no student was measured.", class_="soft")]
    dim, precision = section.cell or ("-", "-")
    metric = metric_title(section.averaged_rows[0].main)
    note = (
        f"Mean retention (student / teacher) of {metric} at dim {dim} in {precision}, with 95 % bootstrap intervals "
        "over queries."
    )
    cards = [_card(section, student, all_series) for student, all_series in students.items()]
    return [element("p", note, class_="soft"), element("div", *cards, class_="cards")]


def _card(section: SectionContent, student: str, all_series: Sequence[Series]) -> Html:
    return element(
        "div",
        element("h3", student),
        element("dl", *(_figure(section, series) for series in all_series)),
        class_="card",
    )


def _figure(section: SectionContent, series: Series) -> Html:
    retention = section.retention_of(series)
    if retention is None:
        shown: tuple[object, ...] = (element("strong", "-"), "unknown, because the teacher was not measured")
    else:
        value, _, span = percent(retention.value, retention.interval).partition(" ")
        names = retention.collections
        over = ", ".join(names) if len(names) <= 4 else f"{len(names)} collections"
        shown = (element("strong", value), f"{span} over {over}" if span else f"over {over}, interval not recorded")
    side = element("span", _SIDES.get(series.mode, ""), class_="soft")
    return element("div", element("dt", element("b", series.mode), " ", side), element("dd", *shown))


def _tables(rows: Sequence[ResultRow]) -> list[Html]:
    return [element("div", _table(lines), class_="wide") for lines in result_tables(rows)]


def _table(lines: Sequence[Sequence[str]]) -> Html:
    titles = lines[0]
    head = [element("th", title, scope="col", class_=_css_class(title)) for title in titles]
    body = [
        element("tr", *(_cell(title, text) for title, text in zip(titles, line, strict=True))) for line in lines[1:]
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *body))


def _cell(title: str, text: str) -> Html:
    if _css_class(title) != "number":
        return element("td", text, class_=_css_class(title), data_title=title)
    value, _, span = text.partition(" ")
    parts = joined([value, " ", element("span", span, class_="interval")]) if span else value
    # On a narrow screen each row is a block of lines, which show the titles of their columns from data-title.
    return element("td", element("span", parts), class_="number", data_title=title)


def _css_class(title: str) -> str:
    return "name" if title in _NAMES else "word" if title in _WORDS else "number"
