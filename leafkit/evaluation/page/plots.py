"""The plots of a page: quality over the grid, retention on each collection, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from leafkit.evaluation.learning_curve import CurvePoint
from leafkit.evaluation.page.html import Html
from leafkit.evaluation.page.section_content import Retention, Series, series_of
from leafkit.evaluation.page.svg import HUES, INK, new_figure, placeholder_colour, shorten, to_svg
from leafkit.evaluation.result_rows import BM25, ResultRow
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


def marker_symbol(style: int) -> str:
    """Return the legend's symbol for the precision with the number ``style``, as on its lines."""
    return list(_MARKERS)[style % len(_MARKERS)]


def hues_of(all_series: Sequence[Series]) -> dict[Series, int]:
    """Return the colour number of each series: 0 for the teacher, then 1 to `HUES` for students; BM25 has none."""
    students = [series for series in all_series if series.student is not None and BM25 not in series.mode]
    hues = {series: 1 + place % HUES for place, series in enumerate(students)}
    return {series: hues.get(series, 0) for series in all_series if BM25 not in series.mode}


def grid_plot(name: str, rows: Sequence[ResultRow], hues: Mapping[Series, int], precisions: Sequence[str]) -> Html:
    """Plot the main metric of one collection over dims, with a line for each series and precision.

    A grid with a single dim is plotted over precisions instead. Rows without vectors are ignored. ``name`` is the
    prefix of the plot's ids.
    """
    rows = [row for row in rows if row.dim and row.precision and series_of(row) in hues]
    dims = sorted({row.dim for row in rows if row.dim})
    with new_figure(4.4, 3.1) as (figure, axes):
        axes.set_ylabel(metric_title(rows[0].main))
        if len(dims) > 1:
            _lines_over_dims(axes, rows, dims, hues, precisions)
        else:
            _lines_over_precisions(axes, rows, hues, precisions)
        axes.margins(x=0.06 if len(dims) > 1 else 0.16, y=0.12)
        return to_svg(figure, name, f"{metric_title(rows[0].main)} on {rows[0].data}")


def _lines_over_dims(
    axes: Axes, rows: Sequence[ResultRow], dims: Sequence[int], hues: Mapping[Series, int], precisions: Sequence[str]
) -> None:
    for series, hue in hues.items():
        for style, precision in enumerate(precisions):
            line = {row.dim: row for row in rows if row.dim and (series_of(row), row.precision) == (series, precision)}
            ordered = sorted(line)
            _line(axes, ordered, [line[dim] for dim in ordered], hue, style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(_readable_ticks(dims))
    axes.set_xticklabels([str(dim) for dim in _readable_ticks(dims)])
    axes.minorticks_off()
    axes.set_xlabel("dim")


def _lines_over_precisions(
    axes: Axes, rows: Sequence[ResultRow], hues: Mapping[Series, int], precisions: Sequence[str]
) -> None:
    for series, hue in hues.items():
        line = {row.precision: row for row in rows if series_of(row) == series}
        measured = [(place, precision) for place, precision in enumerate(precisions) if precision in line]
        _line(axes, [place for place, _ in measured], [line[precision] for _, precision in measured], hue, 0)
    axes.set_xticks(range(len(precisions)), [shorten(precision, 14) for precision in precisions])
    axes.set_xlabel(f"precision, at dim {rows[0].dim}")


def _line(axes: Axes, places: Sequence[int], rows: Sequence[ResultRow], hue: int, style: int) -> None:
    axes.plot(
        places,
        [row.metrics[row.main] for row in rows],
        color=placeholder_colour(hue),
        linestyle=_DASHES[style % len(_DASHES)],
        marker=list(_MARKERS.values())[style % len(_MARKERS)],
        markersize=4.5,
        linewidth=1.6,
    )


def curve_hue(place: int) -> int:
    """Return the colour number of the curve at position ``place``."""
    return 1 + place % HUES


def curve_plot(name: str, curves: Sequence[Sequence[CurvePoint]], over: Literal["examples", "seconds"]) -> Html:
    """Plot the held-out cosine of students over training examples or seconds, in the colours of `curve_hue`."""
    with new_figure(4.4, 3.1) as (figure, axes):
        for place, curve in enumerate(curves):
            axes.plot(
                [point.examples if over == "examples" else point.seconds for point in curve],
                [point.cosine for point in curve],
                color=placeholder_colour(curve_hue(place)),
                linestyle=_DASHES[place // HUES % len(_DASHES)],
                marker="o",
                markersize=3.5,
                linewidth=1.6,
            )
        axes.set(xlabel="examples" if over == "examples" else "seconds of training", ylabel="held-out cosine")
        if over == "examples":
            axes.xaxis.set_major_formatter(import_optional("matplotlib.ticker").EngFormatter(sep=""))
        return to_svg(figure, name, f"held-out cosine by {over}")


def _readable_ticks(dims: Sequence[int]) -> list[int]:
    """Return the dims whose labels do not overlap on a logarithmic axis, starting with the widest.

    ``dims`` are sorted, the smallest first.
    """
    room = (dims[-1] / dims[0]) ** 0.09
    found: list[int] = []
    for dim in reversed(dims):
        if not found or found[-1] / dim >= room:
            found.append(dim)
    return found[::-1]


def retention_bars(name: str, retentions: Mapping[str, Mapping[Series, Retention]], hues: Mapping[Series, int]) -> Html:
    """Plot the retention of each series on each collection as bars with intervals; each bar shows its figure."""
    every = [retention for of_data in retentions.values() for retention in of_data.values()]
    height = 0.7 + 0.27 * len(every) + 0.16 * len(retentions)
    top = max(1.0, *(one.interval.high if one.interval else one.value for one in every))
    with new_figure(5.6, height) as (figure, axes):
        place, ticks = 0.0, []
        for of_data in retentions.values():
            ticks.append(place + (len(of_data) - 1) / 2)
            for series, retention in of_data.items():
                _bar(axes, place, retention, hues[series], top)
                place += 1
            place += 0.6
        axes.axvline(1, color=INK, linewidth=0.8, linestyle=_DASHES[1])
        axes.set(xlim=(0, top * 1.02), ylim=(place - 0.9, -0.7), xlabel="retention (student / teacher)")
        axes.set_yticks(ticks, [shorten(data, 24) for data in retentions])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(import_optional("matplotlib.ticker").PercentFormatter(1, decimals=0))
        return to_svg(figure, name, "retention per collection")


def _bar(axes: Axes, place: float, retention: Retention, hue: int, top: float) -> None:
    axes.barh(place, retention.value, height=0.76, color=placeholder_colour(hue), alpha=0.45)
    span = ""
    if retention.interval:
        low, high = retention.interval.low, retention.interval.high
        axes.plot([low, high], [place, place], color=INK, linewidth=1.3)
        axes.plot([low, high], [place, place], color=INK, linestyle="", marker="|")
        span = f"  [{low * 100:.1f}, {high * 100:.1f}]"
    axes.text(top * 0.012, place, f"{retention.value:.1%}{span}", va="center", color=INK)
