"""The plots of a page: quality over the grid, and what is kept of the teacher on each collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.page.html import Html
from leafkit.evaluation.page.section_content import Retention, Series, series_of
from leafkit.evaluation.page.svg import HUES, INK, canvas, paint, short, svg
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.result_tables import metric_title
from leafkit.extras import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = {
    "\N{BLACK CIRCLE}": "o",
    "\N{BLACK SQUARE}": "s",
    "\N{BLACK DIAMOND}": "D",
    "\N{BLACK UP-POINTING TRIANGLE}": "^",
}


def glyph(style: int) -> str:
    """What the legend shows for the precision of that number, as its lines are marked."""
    return list(_MARKERS)[style % len(_MARKERS)]


def hues_of(all_series: Sequence[Series]) -> dict[Series, int]:
    """The number of each series's colour: 0 for the teacher, then those of the students in turn; BM25 is not drawn."""
    students = [series for series in all_series if series.student is not None]
    hues = {series: 1 + place % HUES for place, series in enumerate(students)}
    return {series: hues.get(series, 0) for series in all_series if series.mode != "bm25"}


def grid_plot(name: str, rows: Sequence[ResultRow], hues: Mapping[Series, int], precisions: Sequence[str]) -> Html:
    """The main metric of one collection against dim, a line for each series and precision.

    Against precision where the grid has a single dim. Rows without vectors are left out. ``name`` is the plot's
    own on its page.
    """
    rows = [row for row in rows if row.dim and row.precision]
    dims = sorted({row.dim for row in rows})
    with canvas(4.4, 3.1) as (figure, axes):
        axes.set_ylabel(metric_title(rows[0].main))
        if len(dims) > 1:
            _lines_over_dims(axes, rows, dims, hues, precisions)
        else:
            _lines_over_precisions(axes, rows, hues, precisions)
        axes.margins(x=0.06 if len(dims) > 1 else 0.16, y=0.12)
        return svg(figure, name, f"{metric_title(rows[0].main)} on {rows[0].data}")


def _lines_over_dims(
    axes: Axes, rows: Sequence[ResultRow], dims: Sequence[int], hues: Mapping[Series, int], precisions: Sequence[str]
) -> None:
    for series, hue in hues.items():
        for style, precision in enumerate(precisions):
            line = sorted((row for row in rows if series_of(row) == series and row.precision == precision), key=_dim)
            _line(axes, [row.dim for row in line], line, hue, style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(_apart(dims))
    axes.set_xticklabels([str(dim) for dim in _apart(dims)])
    axes.minorticks_off()
    axes.set_xlabel("dim")


def _lines_over_precisions(
    axes: Axes, rows: Sequence[ResultRow], hues: Mapping[Series, int], precisions: Sequence[str]
) -> None:
    places = {precision: place for place, precision in enumerate(precisions)}
    for series, hue in hues.items():
        line = [row for precision in places for row in rows if (series_of(row), row.precision) == (series, precision)]
        _line(axes, [places[row.precision] for row in line], line, hue, 0)
    axes.set_xticks(list(places.values()), [short(precision, 14) for precision in places])
    axes.set_xlabel(f"precision, at dim {rows[0].dim}")


def _line(axes: Axes, places: Sequence[Any], rows: Sequence[ResultRow], hue: int, style: int) -> None:
    axes.plot(
        places,
        [row.metrics[row.main] for row in rows],
        color=paint(hue),
        linestyle=_DASHES[style % len(_DASHES)],
        marker=list(_MARKERS.values())[style % len(_MARKERS)],
        markersize=4.5,
        linewidth=1.6,
    )


def curve_hue(place: int) -> int:
    """The number of the colour of the curve at ``place``."""
    return 1 + place % HUES


def curve_plot(name: str, curves: Sequence[Sequence[CurvePoint]], over: Literal["examples", "seconds"]) -> Html:
    """The held-out cosine of students ``over`` what they had seen, in the colours of `curve_hue`."""
    with canvas(4.4, 3.1) as (figure, axes):
        for place, curve in enumerate(curves):
            axes.plot(
                [getattr(validation, over) for validation in curve],
                [validation.cosine for validation in curve],
                color=paint(curve_hue(place)),
                linestyle=_DASHES[place // HUES % len(_DASHES)],
                marker="o",
                markersize=3.5,
                linewidth=1.6,
            )
        axes.set(xlabel="examples" if over == "examples" else "seconds of training", ylabel="held-out cosine")
        if over == "examples":
            axes.xaxis.set_major_formatter(import_optional("matplotlib.ticker").EngFormatter(sep=""))
        return svg(figure, name, f"held-out cosine by {over}")


def _dim(row: ResultRow) -> int:
    return row.dim or 0


def _apart(dims: Sequence[int]) -> list[int]:
    """The dims from the widest down whose labels have room beside each other on a logarithmic axis."""
    room = (dims[-1] / dims[0]) ** 0.09
    found: list[int] = []
    for dim in reversed(dims):
        if not found or found[-1] / dim >= room:
            found.append(dim)
    return found[::-1]


def bars(name: str, kept: Mapping[str, Mapping[Series, Retention]], hues: Mapping[Series, int]) -> Html:
    """The retention of every series on every collection, with intervals, and each figure beside its bar."""
    every = [one for found in kept.values() for one in found.values()]
    height = 0.7 + 0.27 * len(every) + 0.16 * len(kept)
    top = max(1.0, *(one.interval.high if one.interval else one.retention for one in every))
    with canvas(8.2, height) as (figure, axes):
        place, ticks = 0.0, []
        for found in kept.values():
            ticks.append(place + (len(found) - 1) / 2)
            for series, one in found.items():
                _bar(axes, place, one, hues[series], top)
                place += 1
            place += 0.6
        axes.axvline(1, color=INK, linewidth=0.8, linestyle=_DASHES[1])
        axes.set(xlim=(0, top * 1.02), ylim=(place - 0.9, -0.7), xlabel="retention (student / teacher)")
        axes.set_yticks(ticks, [short(name, 24) for name in kept])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(import_optional("matplotlib.ticker").PercentFormatter(1, decimals=0))
        return svg(figure, name, "retention per collection")


def _bar(axes: Axes, place: float, one: Retention, hue: int, top: float) -> None:
    axes.barh(place, one.retention, height=0.76, color=paint(hue), alpha=0.75)
    span = ""
    if one.interval:
        axes.plot([one.interval.low, one.interval.high], [place, place], color=INK, linewidth=1.3)
        axes.plot([one.interval.low, one.interval.high], [place, place], color=INK, linestyle="", marker="|")
        span = f"  [{one.interval.low * 100:.1f}, {one.interval.high * 100:.1f}]"
    axes.text(top * 1.04, place, f"{one.retention:.1%}{span}", va="center", color=INK)
