"""The parts of a section with plots or heat tables, each with a heading and a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leafkit.evaluation.page.html import Html, element
from leafkit.evaluation.page.plots import curve_hue, curve_plot, grid_plot, hues_of, marker_symbol, retention_bars
from leafkit.evaluation.page.section_content import Retention, SectionContent, Series, series_of
from leafkit.evaluation.result_rows import mean_or_none


def plot_blocks(section: SectionContent, name: str) -> list[Html]:
    """Return every plot and heat table that ``section`` has data for.

    ``name`` is the prefix of the plots' ids, different for each section of the page.
    """
    hues = hues_of(section.all_series)
    return [
        *_retention_bars(section, hues, name),
        *_grid_plots(section, hues, name),
        *_heat_tables(section, hues),
        *_learning_curves(section, hues, name),
    ]


def _grid_plots(section: SectionContent, hues: Mapping[Series, int], name: str) -> list[Html]:
    """Plot the main metric of each collection over the grid, if the grid has more than one cell."""
    rows = [row for row in section.rows if row.dim and row.precision]
    dims, precisions = {row.dim for row in rows}, list(dict.fromkeys(row.precision for row in rows if row.precision))
    if len(dims) < 2 and len(precisions) < 2:
        return []
    plots = []
    for number, data in enumerate(dict.fromkeys(row.data for row in rows)):
        plot = grid_plot(f"{name}-grid{number}", [row for row in rows if row.data == data], hues, precisions)
        plots.append(element("figure", element("figcaption", data), plot))
    drawn = {series: hue for series, hue in hues.items() if any(series_of(row) == series for row in rows)}
    marked = precisions if len(dims) > 1 and len(precisions) > 1 else []
    return [
        element("h2", f"Quality by {'dim' if len(dims) > 1 else 'precision'}"),
        _legend(drawn, marked),
        element("div", *plots, class_="plots"),
    ]


def _legend(hues: Mapping[Series, int], precisions: Sequence[str]) -> Html:
    colours = [_key(series.name, hue) for series, hue in hues.items()]
    marks = [element("li", marker_symbol(i), " ", precision) for i, precision in enumerate(precisions)]
    return element("ul", *colours, *marks, class_="legend")


def _key(name: str, hue: int) -> Html:
    colour = f"var(--hue-{hue})" if hue else "var(--teacher)"
    return element("li", element("span", class_="key", style=f"--colour: {colour}"), name)


Heat = dict[tuple[int, str], float]
"""The mean retention in each cell, by dim and precision."""


def _heat_tables(section: SectionContent, hues: Mapping[Series, int]) -> list[Html]:
    """Return a table of dims x precisions for each series that was measured in several cells."""
    heats = {series: _heat(section, series) for series in hues}
    heats = {series: heat for series, heat in heats.items() if len(heat) > 1}
    if not heats:
        return []
    every = [value for heat in heats.values() for value in heat.values()]
    tables = [_heat_table(series, heat, min(every), max(every)) for series, heat in heats.items()]
    note = (
        "Each figure is a ratio of nDCG@10, averaged over the collections. A student is compared with the teacher in "
        "the same cell, the teacher with its full vectors in float32."
    )
    return [
        element("h2", "Retention in every cell"),
        element("p", note, class_="soft"),
        element("div", *tables, class_="heats"),
    ]


def _heat(section: SectionContent, series: Series) -> Heat:
    cells: dict[tuple[int, str], list[float | None]] = {}
    for row in section.averaged_rows:
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


def _retention_bars(section: SectionContent, hues: Mapping[Series, int], name: str) -> list[Html]:
    """Plot the retention of each student on each collection in the widest cell, and the means below."""
    students = [series for series in hues if series.student]
    retentions: dict[str, dict[Series, Retention]] = {}
    for row in section.rows:
        if series_of(row) in students and section.cell == (row.dim, row.precision) and row.retention is not None:
            retention = Retention(row.retention, row.retention_interval, (row.data,))
            retentions.setdefault(row.data, {})[series_of(row)] = retention
    if not retentions:
        return []
    means = {
        series: mean for series in students if (mean := section.retention_of(series)) and len(mean.collections) > 1
    }
    if means:
        retentions["mean"] = means
    dim, precision = section.cell or ("-", "-")
    drawn = [series for series in students if any(series in of_data for of_data in retentions.values())]
    return [
        element("h2", "Retention per collection"),
        element("p", f"At dim {dim} in {precision}. Lines are 95 % intervals over queries.", class_="soft"),
        _legend({series: hues[series] for series in drawn}, []),
        element("figure", retention_bars(f"{name}-bars", retentions, hues), class_="bars"),
    ]


def _learning_curves(section: SectionContent, hues: Mapping[Series, int], name: str) -> list[Html]:
    """Plot the learning curves of the measured students that have at least two validations."""
    measured = dict.fromkeys(series.student for series in hues if series.student)
    drawn = {student: section.curves[student] for student in measured if len(section.curves.get(student, ())) > 1}
    if not drawn:
        return []
    note = "Mean cosine to the teacher on each student's held-out texts, during its last training."
    keys = [_key(student, curve_hue(place)) for place, student in enumerate(drawn)]
    plots = [curve_plot(f"{name}-{over}", list(drawn.values()), over) for over in ("examples", "seconds")]
    return [
        element("h2", "Learning curves"),
        element("p", note, class_="soft"),
        element("ul", *keys, class_="legend"),
        element("div", *(element("figure", plot) for plot in plots), class_="plots"),
    ]
