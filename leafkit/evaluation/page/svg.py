"""Drawing with matplotlib for inside a page: no names from outside, and colours that follow the page's theme."""

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
"""Colours of students that the page has; more students use them again."""

# matplotlib writes a colour as #rrggbb alone: these stand for what the page's style sheet names.
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


def paint(hue: int) -> str:
    """What matplotlib is to draw with for the page's colour of that number: 0 for the teacher, then 1 to `HUES`."""
    return f"#01030{hue}"


def short(name: str, length: int) -> str:
    """``name`` cut to ``length`` characters; control characters, which XML cannot hold, are replaced."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", name)
    return name if len(name) <= length else name[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure of ``width`` x ``height`` inches with one pair of axes."""
    with import_optional("matplotlib.style").context(["default", _SETTINGS]), warnings.catch_warnings():
        # Text stays text: whether matplotlib's own font has the letters of a name does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = import_optional("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots()


def svg(figure: Figure, name: str, label: str) -> Html:
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
    root.attrib |= {"role": "img", "aria-label": short(label, 200)}
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
