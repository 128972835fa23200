"""The plots of a section, each with its heading and a legend, and its heat tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leafkit.evaluation.page.html import Html, element
from leafkit.evaluation.page.plots import bars, curve_hue, curve_plot, glyph, grid_plot, hues_of
from leafkit.evaluation.page.section_content import Retention, SectionContent, Series, series_of
from leafkit.evaluation.result_rows import mean_or_none


def figures(section: SectionContent, name: str) -> list[Html]:
    """All that can be drawn of ``section``; ``name`` sets the ids of its plots apart from those of other sections."""
    hues = hues_of(section.all_series)
    return [
        *_bars(section, hues, name),
        *_grid_plots(section, hues, name),
        *_heats(section, hues),
        *_curves(section, hues, name),
    ]


def _grid_plots(section: SectionContent, hues: Mapping[Series, int], name: str) -> list[Html]:
    rows = [row for row in section.rows if row.dim and row.precision]
    dims, precisions = {row.dim for row in rows}, list(dict.fromkeys(row.precision for row in rows))
    if len(dims) < 2 and len(precisions) < 2:
        return []
    data = list(dict.fromkeys(row.data for row in rows))
    plots = []
    for number, one in enumerate(data):
        found = [row for row in rows if row.data == one]
        plot = grid_plot(f"{name}-grid{number}", found, hues, precisions)
        plots.append(element("figure", element("figcaption", one), plot))
    drawn = {series: colour for series, colour in hues.items() if any(series_of(row) == series for row in rows)}
    lines = precisions if len(dims) > 1 else []
    return [
        element("h2", f"Quality by {'dim' if len(dims) > 1 else 'precision'}"),
        _legend(drawn, lines if len(lines) > 1 else []),
        element("div", *plots, class_="plots"),
    ]


def _legend(hues: Mapping[Series, int], precisions: Sequence[str]) -> Html:
    colours = [_key(series.name, number) for series, number in hues.items()]
    marks = [element("li", glyph(i), " ", one) for i, one in enumerate(precisions)]
    return element("ul", *colours, *marks, class_="legend")


def _key(name: str, number: int) -> Html:
    return element("li", element("span", class_="key", style=f"--colour: {_colour(number)}"), name)


def _colour(number: int) -> str:
    return f"var(--hue-{number})" if number else "var(--teacher)"


Heat = dict[tuple[int, str], float]
"""A ratio for each dim and precision."""


def _heats(section: SectionContent, hues: Mapping[Series, int]) -> list[Html]:
    heats = {series: _heat(section, series) for series in hues}
    heats = {series: heat for series, heat in heats.items() if len(heat) > 1}
    if not heats:
        return []
    every = [value for heat in heats.values() for value in heat.values()]
    tables = [_heat_table(series, heat, min(every), max(every)) for series, heat in heats.items()]
    note = (
        "Mean over the collections of nDCG@10 over the teacher's in the same cell; the teacher's own is over that "
        "of its full vectors in float32."
    )
    return [
        element("h2", "Retention in every cell"),
        element("p", note, class_="soft"),
        element("div", *tables, class_="heats"),
    ]


def _heat(section: SectionContent, series: Series) -> Heat:
    cells: dict[tuple[int, str], list[float | None]] = {}
    for row in section.compared:
        if series_of(row) == series and row.dim and row.precision:
            ratio = row.retention if series.student else row.of_full
            cells.setdefault((row.dim, row.precision), []).append(ratio)
    means = {cell: mean_or_none(ratios) for cell, ratios in cells.items()}
    return {cell: mean for cell, mean in means.items() if mean is not None}


def _heat_table(series: Series, heat: Heat, low: float, high: float) -> Html:
    dims = sorted({dim for dim, _ in heat}, reverse=True)
    precisions = list(dict.fromkeys(precision for _, precision in heat))
    titles = [element("th", title, scope="col", class_="number") for title in ("dim", *precisions)]
    lines = []
    for dim in dims:
        cells = [_heat_cell(heat.get((dim, precision)), low, high) for precision in precisions]
        lines.append(element("tr", element("th", dim, scope="row", class_="number"), *cells))
    return element(
        "table",
        element("caption", series.name),
        element("thead", element("tr", *titles)),
        element("tbody", *lines),
        class_="heat",
    )


def _heat_cell(value: float | None, low: float, high: float) -> Html:
    if value is None:
        return element("td", "-")
    share = 1.0 if high == low else (value - low) / (high - low)
    return element("td", f"{value:.1%}", style=f"--heat: {50 * share:.0f}%")


def _bars(section: SectionContent, hues: Mapping[Series, int], name: str) -> list[Html]:
    students = [series for series in hues if series.student]
    kept: dict[str, dict[Series, Retention]] = {}
    for row in section.rows:
        if series_of(row) in students and section.cell == (row.dim, row.precision) and row.retention is not None:
            one = Retention(row.retention, row.retention_interval, (row.data,))
            kept.setdefault(row.data, {})[series_of(row)] = one
    if not kept:
        return []
    means = {series: one for series in students if (one := section.retention_of(series)) and len(one.over) > 1}
    if means:
        kept["mean"] = means
    dim, precision = section.cell or ("-", "-")
    return [
        element("h2", "Retention per collection"),
        element("p", f"At dim {dim} in {precision}; lines are 95 % intervals over queries.", class_="soft"),
        _legend({series: hues[series] for series in students if any(series in found for found in kept.values())}, []),
        element("figure", bars(f"{name}-bars", kept, hues), class_="bars"),
    ]


def _curves(section: SectionContent, hues: Mapping[Series, int], name: str) -> list[Html]:
    measured = dict.fromkeys(series.student for series in hues)
    drawn = {student: section.curves[student] for student in measured if len(section.curves.get(student, ())) > 1}
    if not drawn:
        return []
    note = "Mean cosine to the teacher on the texts that each training held out, over its last training."
    keys = [_key(student, curve_hue(place)) for place, student in enumerate(drawn)]
    plots = [curve_plot(f"{name}-{over}", list(drawn.values()), over) for over in ("examples", "seconds")]
    return [
        element("h2", "Learning curves"),
        element("p", note, class_="soft"),
        element("ul", *keys, class_="legend"),
        element("div", *(element("figure", plot) for plot in plots), class_="plots"),
    ]
