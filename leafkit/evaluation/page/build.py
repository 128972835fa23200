"""The page: headline, tables, plots and provenance, in one file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from leafkit.errors import OutputError
from leafkit.evaluation.page.html import Html, element, joined
from leafkit.evaluation.page.plot_blocks import figures
from leafkit.evaluation.page.provenance_block import origin
from leafkit.evaluation.page.section_content import SectionContent, Series, sections
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.result_tables import metric_title, percent, result_tables
from leafkit.extras import import_optional

# The page asks for nothing by itself; this has the browser refuse whatever a name could smuggle in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_NAMES, _WORDS = {"data", "student"}, {"mode", "precision"}
_SIDES = {"asymmetric": "encodes queries only", "standard": "encodes queries and documents"}


def check_page(path: Path) -> None:
    """Find what would keep a page from being written to ``path``, before anything is measured.

    Raises `OutputError` where its folder is missing or it is a folder, `MissingExtraError` without matplotlib.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it, such as {path / 'report.html'}")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}; create it, or name another")
    import_optional("matplotlib")


def page(reports: Sequence[Report]) -> str:
    """One HTML page of all ``reports``; those that contradict no other share their tables and plots."""
    found = sections(reports)
    style = (files(__package__) / "page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        element("title", "; ".join(dict.fromkeys(map(_title, found)))),
        element("style", Html(style)),
    )
    body = element("body", *(_section(section, number) for number, section in enumerate(found)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _section(section: SectionContent, number: int) -> Html:
    parts = [element("h1", _title(section)), *_headline(section), *figures(section, f"s{number}")]
    for means in section.means:
        over = f"Over {', '.join(means.collections)}; a retention is the mean of the collections' retentions."
        parts += [element("h2", f"Mean over {len(means.collections)} collections"), element("p", over, class_="soft")]
        parts += _tables(means.rows)
    parts += [element("h2", "All figures"), *_tables(section.rows)]
    return element("section", *parts, *origin(section.sources))


def _title(section: SectionContent) -> str:
    space = section.sources[0].space or {}
    students = list(dict.fromkeys(series.student for series in section.all_series if series.student))
    teacher = space.get("teacher", "an unknown teacher")
    return f"{', '.join(students)}: distilled from {teacher}" if students else f"Teacher {teacher}"


def _headline(section: SectionContent) -> list[Html]:
    """What each student keeps of its teacher, in large figures."""
    students: dict[str, list[Series]] = {}
    for series in section.all_series:
        if series.student is not None:
            students.setdefault(series.student, []).append(series)
    if not students:
        return [element("p", "The teacher alone: no student was measured.", class_="soft")]
    dim, precision = section.cell or ("-", "-")
    note = (
        f"Mean retention (student / teacher) at dim {dim} in {precision}, {metric_title(section.compared[0].main)}, "
        "with 95 % bootstrap intervals over queries."
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
    kept = section.retention_of(series)
    if kept is None:
        shown: tuple[object, ...] = (element("strong", "-"), "the teacher was not measured beside it")
    else:
        value, _, span = percent(kept.retention, kept.interval).partition(" ")
        over = ", ".join(kept.over) if len(kept.over) <= 4 else f"{len(kept.over)} collections"
        shown = (element("strong", value), f"{span} over {over}" if span else f"over {over}, interval not recorded")
    side = element("span", _SIDES.get(series.mode, ""), class_="soft")
    return element("div", element("dt", element("b", series.mode), " ", side), element("dd", *shown))


def _tables(rows: Sequence[ResultRow]) -> list[Html]:
    return [element("div", _table(lines), class_="wide") for lines in result_tables(rows)]


def _table(lines: Sequence[Sequence[str]]) -> Html:
    titles = lines[0]
    head = [element("th", title, scope="col", class_=_kind(title)) for title in titles]
    body = [
        element("tr", *(_cell(title, shown) for title, shown in zip(titles, line, strict=True))) for line in lines[1:]
    ]
    return element("table", element("thead", element("tr", *head)), element("tbody", *body))


def _cell(title: str, shown: str) -> Html:
    if _kind(title) != "number":
        return element("td", shown, class_=_kind(title))
    value, _, span = shown.partition(" ")
    parts = joined([value, " ", element("span", span, class_="interval")]) if span else value
    return element("td", parts, class_="number")


def _kind(title: str) -> str:
    return "name" if title in _NAMES else "word" if title in _WORDS else "number"
