"""Compare an exported file with its student on the golden texts (`leafkit.vectors.golden_texts`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.errors import ExportError
from leafkit.types import Encoder, Float32
from leafkit.vectors.cosine import row_cosines, unit_rows
from leafkit.vectors.golden_texts import GOLDEN

# Two texts whose cosines to a third differ by less than this count as equally near: int8 moves cosines by as much.
TIE = 0.02


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The least figures that an exported file must reach against the trained student.

    ``least_cosine`` and ``mean_cosine`` are over the golden texts. ``least_length`` is the length of the shorter
    vector as a share of the longer one's. ``nearest`` is the share of texts that keep their nearest text.
    """

    least_cosine: float
    mean_cosine: float
    least_length: float
    nearest: float


# float32 differs by rounding alone. With int8, MiniLM and BGE students reach at least 0.998 on average and 0.992 at
# worst.
BOUNDS = {
    "float32": Bounds(least_cosine=0.99999, mean_cosine=0.99999, least_length=0.9999, nearest=1.0),
    "int8": Bounds(least_cosine=0.97, mean_cosine=0.99, least_length=0.95, nearest=0.9),
}


def golden_vectors(encoder: Encoder) -> Float32:
    """Return the vectors of the golden texts, each in its role, shape (texts, dim)."""
    return numpy.concatenate([encoder.encode([text], role) for text, role in GOLDEN])


def compare_export(precision: str, expected: Float32, got: Float32) -> dict[str, float]:
    """Compare the vectors of an exported file with the student's and return the figures.

    ``expected`` are the student's vectors of `GOLDEN` and ``got`` those of the file, both (texts, dim). Raises
    `ExportError` for the first figure below its bound.
    """
    cosines = row_cosines(expected, got)
    lengths = numpy.sort([numpy.linalg.norm(vectors, axis=1) for vectors in (expected, got)], axis=0)
    figures = {
        "least_cosine": float(cosines.min()),
        "mean_cosine": float(cosines.mean()),
        "least_length": float((lengths[0] / numpy.maximum(lengths[1], 1e-12)).min()),
        "nearest": nearest_kept(expected, got),
    }
    bounds = BOUNDS[precision]
    for name, value in figures.items():
        if not value >= getattr(bounds, name):
            raise ExportError(
                f"the {precision} ONNX file does not agree with the student: {name.replace('_', ' ')} is {value:.5f}; "
                f"expected at least {getattr(bounds, name)}. Nothing was written."
                + (" Export with --no-int8 to keep only float32." if precision == "int8" else "")
            )
    return figures


def nearest_kept(expected: Float32, got: Float32) -> float:
    """Return the share of texts whose nearest other text by ``got`` is also a nearest text by ``expected``.

    Both are (texts, dim). Cosines that differ by less than `TIE` count as equal.
    """
    by_expected, by_got = (unit @ unit.T for unit in (unit_rows(expected), unit_rows(got)))
    for cosines in (by_expected, by_got):
        numpy.fill_diagonal(cosines, -numpy.inf)
    chosen = numpy.take_along_axis(by_expected, by_got.argmax(axis=1, keepdims=True), axis=1)[:, 0]
    return float((chosen >= by_expected.max(axis=1) - TIE).mean())
