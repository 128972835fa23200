"""The plot of a frontier: bytes per document against the share of nDCG@10 that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.frontier.formats import FrontierPoint
from leafkit.extras import import_optional
from leafkit.files.atomic import atomic_file

_COLOURS = {"teacher": "#7f7f7f", "pca": "#1f77b4", "fold": "#d62728", "itq": "#9467bd", "fold+itq": "#ff7f0e"}
_NAMES = {"teacher": "plain prefix", "pca": "PCA prefix", "fold": "fold", "itq": "ITQ", "fold+itq": "fold, then ITQ"}
_STYLES = {"float32": "-", "int8": "--", "int4+none": "-.", "binary": ":"}
_LABELS = {"int4+none": "int4", "binary": "binary, int8 rescoring", "binary+none": "binary alone"}


def draw(points: Sequence[FrontierPoint], path: Path) -> None:
    """Draw ``points`` into the SVG file ``path``: colours show the coordinates, line styles the precision."""
    with import_optional("matplotlib").rc_context({"svg.hashsalt": "leafkit", "font.size": 9}):
        figure = import_optional("matplotlib.figure").Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        lines = dict.fromkeys((point.storage.precision, point.storage.coordinates) for point in points)
        for precision, coordinates in lines:
            series = [p for p in points if (p.storage.precision, p.storage.coordinates) == (precision, coordinates)]
            series.sort(key=lambda point: point.bytes)
            axes.plot(
                [point.bytes for point in series],
                [100 * point.share for point in series],
                _STYLES.get(precision, ":"),
                marker="o",
                markersize=3,
                color=_COLOURS[coordinates],
                label=f"{_NAMES[coordinates]}, {_LABELS.get(precision, precision)}",
            )
        axes.axhline(99.5, color="black", linewidth=0.5)
        axes.set_xscale("log", base=2)
        ticks = sorted({2**power for power in range(4, 13) if _within(2**power, points)})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xlabel("bytes per document (memory and disk together)")
        axes.set_ylabel("nDCG@10 kept, % (line: 99.5)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        figure.patch.set_facecolor("white")
        with atomic_file(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})


def _within(value: int, points: Sequence[FrontierPoint]) -> bool:
    sizes = [point.bytes for point in points]
    return min(sizes) <= value <= max(sizes)
