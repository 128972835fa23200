"""The plots of a section, each with its heading and a legend, and its heat tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leafkit.evaluation.page.markup import Html, element
from leafkit.evaluation.page.plots import bars, curve_hue, curve_plot, glyph, grid_plot, hues_of
from leafkit.evaluation.page.section import Kept, Section, System, system_of
from leafkit.evaluation.rows import average


def figures(section: Section, name: str) -> list[Html]:
    """All that can be drawn of ``section``; ``name`` sets the ids of its plots apart from those of other sections."""
    hues = hues_of(section.systems)
    return [
        *_bars(section, hues, name),
        *_grid_plots(section, hues, name),
        *_heats(section, hues),
        *_curves(section, hues, name),
    ]


def _grid_plots(section: Section, hues: Mapping[System, int], name: str) -> list[Html]:
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
    drawn = {system: colour for system, colour in hues.items() if any(system_of(row) == system for row in rows)}
    lines = precisions if len(dims) > 1 else []
    return [
        element("h2", f"Quality by {'dim' if len(dims) > 1 else 'precision'}"),
        _legend(drawn, lines if len(lines) > 1 else []),
        element("div", *plots, class_="plots"),
    ]


def _legend(hues: Mapping[System, int], precisions: Sequence[str]) -> Html:
    colours = [_key(system.name, number) for system, number in hues.items()]
    marks = [element("li", glyph(i), " ", one) for i, one in enumerate(precisions)]
    return element("ul", *colours, *marks, class_="legend")


def _key(name: str, number: int) -> Html:
    return element("li", element("span", class_="key", style=f"--colour: {_colour(number)}"), name)


def _colour(number: int) -> str:
    return f"var(--hue-{number})" if number else "var(--teacher)"


Heat = dict[tuple[int, str], float]
"""A ratio for each dim and precision."""


def _heats(section: Section, hues: Mapping[System, int]) -> list[Html]:
    heats = {system: _heat(section, system) for system in hues}
    heats = {system: heat for system, heat in heats.items() if len(heat) > 1}
    if not heats:
        return []
    every = [value for heat in heats.values() for value in heat.values()]
    tables = [_heat_table(system, heat, min(every), max(every)) for system, heat in heats.items()]
    note = (
        "Mean over the collections of nDCG@10 over the teacher's in the same cell; the teacher's own is over that "
        "of its full vectors in float32."
    )
    return [
        element("h2", "Retention in every cell"),
        element("p", note, class_="soft"),
        element("div", *tables, class_="heats"),
    ]


def _heat(section: Section, system: System) -> Heat:
    cells: dict[tuple[int, str], list[float | None]] = {}
    for row in section.compared:
        if system_of(row) == system and row.dim and row.precision:
            ratio = row.retention if system.student else row.of_full
            cells.setdefault((row.dim, row.precision), []).append(ratio)
    means = {cell: average(ratios) for cell, ratios in cells.items()}
    return {cell: mean for cell, mean in means.items() if mean is not None}


def _heat_table(system: System, heat: Heat, low: float, high: float) -> Html:
    dims = sorted({dim for dim, _ in heat}, reverse=True)
    precisions = list(dict.fromkeys(precision for _, precision in heat))
    titles = [element("th", title, scope="col", class_="number") for title in ("dim", *precisions)]
    lines = []
    for dim in dims:
        cells = [_heat_cell(heat.get((dim, precision)), low, high) for precision in precisions]
        lines.append(element("tr", element("th", dim, scope="row", class_="number"), *cells))
    return element(
        "table",
        element("caption", system.name),
        element("thead", element("tr", *titles)),
        element("tbody", *lines),
        class_="heat",
    )


def _heat_cell(value: float | None, low: float, high: float) -> Html:
    if value is None:
        return element("td", "-")
    share = 1.0 if high == low else (value - low) / (high - low)
    return element("td", f"{value:.1%}", style=f"--heat: {50 * share:.0f}%")


def _bars(section: Section, hues: Mapping[System, int], name: str) -> list[Html]:
    students = [system for system in hues if system.student]
    kept: dict[str, dict[System, Kept]] = {}
    for row in section.rows:
        if system_of(row) in students and section.cell == (row.dim, row.precision) and row.retention is not None:
            one = Kept(row.retention, row.retention_interval, (row.data,))
            kept.setdefault(row.data, {})[system_of(row)] = one
    if not kept:
        return []
    means = {system: one for system in students if (one := section.kept(system)) and len(one.over) > 1}
    if means:
        kept["mean"] = means
    dim, precision = section.cell or ("-", "-")
    return [
        element("h2", "Retention per collection"),
        element("p", f"At dim {dim} in {precision}; lines are 95 % intervals over queries.", class_="soft"),
        _legend({system: hues[system] for system in students if any(system in found for found in kept.values())}, []),
        element("figure", bars(f"{name}-bars", kept, hues), class_="bars"),
    ]


def _curves(section: Section, hues: Mapping[System, int], name: str) -> list[Html]:
    measured = dict.fromkeys(system.student for system in hues)
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
