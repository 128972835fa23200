"""Plots as SVG that stands inside a page: no names from outside, and colours that follow the page's theme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from leafkit.eval.columns import metric_title
from leafkit.eval.extras import require
from leafkit.eval.report import Row

from .markup import Html
from .section import Kept, System, system_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUES = 6
"""Colours of students that the page has; more students use them again."""

_DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = {
    "\N{BLACK CIRCLE}": "o",
    "\N{BLACK SQUARE}": "s",
    "\N{BLACK DIAMOND}": "D",
    "\N{BLACK UP-POINTING TRIANGLE}": "^",
}

# matplotlib writes a colour as #rrggbb alone: these stand for what the page's style sheet names.
_INK, _LINE = "#010203", "#010204"
_COLOURS = {_INK: "currentColor", _LINE: "var(--line)", "#010300": "var(--teacher)"}
_COLOURS |= {f"#01030{hue}": f"var(--hue-{hue})" for hue in range(1, HUES + 1)}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leafkit",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
}


def glyph(style: int) -> str:
    """What the legend shows for the precision of that number, as its lines are marked."""
    return list(_MARKERS)[style % len(_MARKERS)]


def hue(system: System, systems: Sequence[System]) -> int:
    """The number of the system's colour: 0 for the teacher, then those of the students in turn."""
    students = [one for one in systems if one.student is not None]
    return 1 + students.index(system) % HUES if system in students else 0


def grid_plot(name: str, rows: Sequence[Row], hues: Mapping[System, int], precisions: Sequence[str]) -> Html:
    """The main metric of one collection against dim, a line for each system and precision.

    Against precision where the grid has a single dim. Rows without vectors are left out. ``name`` is the plot's
    own on its page.
    """
    rows = [row for row in rows if row.dim and row.precision]
    dims = sorted({row.dim for row in rows})
    with _figure(4.4, 3.1) as (figure, axes):
        axes.set_ylabel(metric_title(rows[0].main))
        if len(dims) > 1:
            _lines_over_dims(axes, rows, dims, hues, precisions)
        else:
            _lines_over_precisions(axes, rows, hues, precisions)
        axes.margins(x=0.06 if len(dims) > 1 else 0.16, y=0.12)
        return _svg(figure, name, f"{metric_title(rows[0].main)} on {rows[0].data}")


def _lines_over_dims(
    axes: Axes, rows: Sequence[Row], dims: Sequence[int], hues: Mapping[System, int], precisions: Sequence[str]
) -> None:
    for system, colour in hues.items():
        for style, precision in enumerate(precisions):
            line = sorted((row for row in rows if system_of(row) == system and row.precision == precision), key=_dim)
            _line(axes, [row.dim for row in line], line, colour, style)
    axes.set_xscale("log", base=2)
    axes.set_xticks(_apart(dims))
    axes.set_xticklabels([str(dim) for dim in _apart(dims)])
    axes.minorticks_off()
    axes.set_xlabel("dim")


def _lines_over_precisions(
    axes: Axes, rows: Sequence[Row], hues: Mapping[System, int], precisions: Sequence[str]
) -> None:
    places = {precision: place for place, precision in enumerate(precisions)}
    for system, colour in hues.items():
        line = [row for precision in places for row in rows if (system_of(row), row.precision) == (system, precision)]
        _line(axes, [places[row.precision] for row in line], line, colour, 0)
    axes.set_xticks(list(places.values()), [_short(precision, 14) for precision in places])
    axes.set_xlabel(f"precision, at dim {rows[0].dim}")


def _line(axes: Axes, places: Sequence[Any], rows: Sequence[Row], colour: int, style: int) -> None:
    axes.plot(
        places,
        [row.metrics[row.main] for row in rows],
        color=f"#01030{colour}",
        linestyle=_DASHES[style % len(_DASHES)],
        marker=list(_MARKERS.values())[style % len(_MARKERS)],
        markersize=4.5,
        linewidth=1.6,
    )


def _dim(row: Row) -> int:
    return row.dim or 0


def _apart(dims: Sequence[int]) -> list[int]:
    """The dims from the widest down whose labels have room beside each other on a logarithmic axis."""
    room = (dims[-1] / dims[0]) ** 0.09
    found: list[int] = []
    for dim in reversed(dims):
        if not found or found[-1] / dim >= room:
            found.append(dim)
    return found[::-1]


def bars(name: str, kept: Mapping[str, Mapping[System, Kept]], hues: Mapping[System, int]) -> Html:
    """The retention of every system on every collection, with intervals, and each figure beside its bar."""
    every = [one for found in kept.values() for one in found.values()]
    height = 0.7 + 0.27 * len(every) + 0.16 * len(kept)
    top = max(1.0, *(one.interval.high if one.interval else one.retention for one in every))
    with _figure(8.2, height) as (figure, axes):
        place, ticks = 0.0, []
        for found in kept.values():
            ticks.append(place + (len(found) - 1) / 2)
            for system, one in found.items():
                _bar(axes, place, one, hues[system], top)
                place += 1
            place += 0.6
        axes.axvline(1, color=_INK, linewidth=0.8, linestyle=_DASHES[1])
        axes.set(xlim=(0, top * 1.02), ylim=(place - 0.9, -0.7), xlabel="retention (student / teacher)")
        axes.set_yticks(ticks, [_short(name, 24) for name in kept])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1, decimals=0))
        return _svg(figure, name, "retention per collection")


def _bar(axes: Axes, place: float, one: Kept, colour: int, top: float) -> None:
    axes.barh(place, one.retention, height=0.76, color=f"#01030{colour}", alpha=0.75)
    span = ""
    if one.interval:
        axes.plot([one.interval.low, one.interval.high], [place, place], color=_INK, linewidth=1.3)
        axes.plot([one.interval.low, one.interval.high], [place, place], color=_INK, linestyle="", marker="|")
        span = f"  [{one.interval.low * 100:.1f}, {one.interval.high * 100:.1f}]"
    axes.text(top * 1.04, place, f"{one.retention:.1%}{span}", va="center", color=_INK)


def _short(name: str, length: int) -> str:
    """``name`` cut to ``length`` characters; control characters, which XML cannot hold, are replaced."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", name)
    return name if len(name) <= length else name[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of ``width`` x ``height`` inches with one pair of axes."""
    with require("matplotlib").rc_context(_SETTINGS), warnings.catch_warnings():
        # Text stays text: whether matplotlib's own font has the letters of a name does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: Figure, name: str, label: str) -> Html:
    """The figure as an element of an HTML page, whose ids start with ``name``; ``label`` says what it shows."""
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for part in root.iter():
        part.tag = part.tag.rpartition("}")[2]
        for key in list(part.attrib):
            part.set(key.rpartition("}")[2], _attribute(key.rpartition("}")[2], part.attrib.pop(key), f"{name}-"))
    root.attrib |= {"role": "img", "aria-label": _short(label, 200)}
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _attribute(name: str, value: str, prefix: str) -> str:
    """The attribute with ids that no other plot of the page has, and the page's colours and font."""
    if name == "id":
        return prefix + value
    if name == "href":
        return f"#{prefix}{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}")
    for placeholder, colour in _COLOURS.items():
        value = value.replace(placeholder, colour)
    return re.sub(r"font-family: [^;]*", "font-family: inherit", value)
