"""Draw with matplotlib for an HTML page: SVG without outside references, in the colours of the page's theme."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from leafkit.evaluation.page.html import Html
from leafkit.extras import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUES = 6
"""The number of colours for students in the page's style sheet. More students use the colours again."""

# matplotlib writes colours only as #rrggbb. These placeholders are replaced by the colours of the style sheet.
INK, _LINE = "#010203", "#010204"
_COLOURS = {INK: "currentColor", _LINE: "var(--line)", "#010300": "var(--teacher)"}
_COLOURS |= {f"#01030{hue}": f"var(--hue-{hue})" for hue in range(1, HUES + 1)}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leafkit",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": _LINE,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
}


def placeholder_colour(hue: int) -> str:
    """Return the placeholder to draw with for a colour of the page: 0 is the teacher's, 1 to `HUES` the students'."""
    return f"#01030{hue}"


def shorten(name: str, length: int) -> str:
    """Truncate ``name`` to ``length`` characters and replace control characters, which XML cannot hold."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", name)
    return name if len(name) <= length else name[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def new_figure(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Provide a figure of ``width`` x ``height`` inches with one pair of axes, in the page's style."""
    with import_optional("matplotlib.style").context(["default", _SETTINGS]), warnings.catch_warnings():
        # The SVG holds text, not outlines, so matplotlib's own font need not have the letters of a name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = import_optional("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def to_svg(figure: Figure, name: str, label: str) -> Html:
    """Return the figure as an SVG element; ``name`` is the prefix of its ids, ``label`` describes it to readers."""
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
    root.attrib |= {"role": "img", "aria-label": shorten(label, 200)}
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _attribute(name: str, value: str, prefix: str) -> str:
    """Return the attribute's value with prefixed ids, the page's colours and the page's font."""
    if name == "id":
        return prefix + value
    if name == "href":
        return f"#{prefix}{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}")
    for placeholder, colour in _COLOURS.items():
        value = value.replace(placeholder, colour)
    return re.sub(r"font-family: [^;]*", "font-family: inherit", value)
