"""Texts on which an export is judged and which travel with it, and the judgement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.errors import ExportError
from leafkit.types import Float32, Role
from leafkit.vectors.cosine import row_cosines, unit_rows

# The short ones first: `leafkit.search.query_encoder` encodes a few of them whenever it opens the file.
GOLDEN: tuple[tuple[str, Role], ...] = (
    ("how do I list open ports", "query"),
    ("The capital of France is Paris.", "document"),
    ("naïve café résumé Ωmega 数据 🙂", "query"),
    ("x", "query"),
    ("which planet is known as the red planet?", "query"),
    ("Mars is the fourth planet from the Sun; iron oxide on its surface gives it a reddish colour.", "document"),
    ("symptoms of iron deficiency", "query"),
    ("Tiredness, pale skin and shortness of breath are common when the body lacks iron.", "document"),
    ("undo the last commit but keep the changes", "query"),
    ("git reset --soft HEAD~1 moves the branch back by one commit and leaves the files as they are.", "document"),
    ("1234567890 3.14159 -42 0x7f", "query"),
    ("who wrote the first computer program", "query"),
    ("In 1843 Ada Lovelace published an algorithm for the Analytical Engine.", "document"),
    ("does coffee raise blood pressure?", "query"),
    ("Caffeine can cause a short, dramatic rise in blood pressure, even in people without hypertension.", "document"),
    # Longer than most limits, and different all along, so that a cut at another place shows.
    (" ".join(f"{number} words" for number in range(2000, 1000, -1)), "document"),
)


# Texts whose similarities to a third differ by less than this may change places: int8 moves cosines by as much.
TIE = 0.02


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an exported file must reach against the trained student.

    Cosines; the shorter vector's length as a share of the longer one's; the share of nearest texts kept.
    """

    least_cosine: float
    mean_cosine: float
    least_length: float
    nearest: float


# float32 differs by rounding alone. int8: MiniLM and BGE students lie at 0.998 and more on average and at 0.992 at
# worst.
BOUNDS = {
    "float32": Bounds(least_cosine=0.99999, mean_cosine=0.99999, least_length=0.9999, nearest=1.0),
    "int8": Bounds(least_cosine=0.97, mean_cosine=0.99, least_length=0.95, nearest=0.9),
}


def judge(precision: str, wanted: Float32, got: Float32) -> dict[str, float]:
    """The figures of an exported file; ``wanted`` and ``got`` are the vectors of `GOLDEN`, shape (texts, dim).

    Raises `ExportError` where one falls short of its bound.
    """
    cosines = row_cosines(wanted, got)
    lengths = numpy.sort([numpy.linalg.norm(vectors, axis=1) for vectors in (wanted, got)], axis=0)
    figures = {
        "least_cosine": float(cosines.min()),
        "mean_cosine": float(cosines.mean()),
        "least_length": float((lengths[0] / numpy.maximum(lengths[1], 1e-12)).min()),
        "nearest": nearest_kept(wanted, got),
    }
    bounds = BOUNDS[precision]
    for name, value in figures.items():
        if not value >= getattr(bounds, name):
            raise ExportError(
                f"the {precision} ONNX file does not agree with the student: {name.replace('_', ' ')} {value:.5f}, "
                f"wanted {getattr(bounds, name)} or more; nothing was written"
                + (". Export with --no-int8 to keep float32 alone" if precision == "int8" else "")
            )
    return figures


def nearest_kept(wanted: Float32, got: Float32) -> float:
    """The share of texts whose nearest other text by ``got`` is their nearest by ``wanted``, or ties with it."""
    similar, found = (unit @ unit.T for unit in (unit_rows(wanted), unit_rows(got)))
    for matrix in (similar, found):
        numpy.fill_diagonal(matrix, -numpy.inf)
    chosen = numpy.take_along_axis(similar, found.argmax(axis=1, keepdims=True), axis=1)[:, 0]
    return float((chosen >= similar.max(axis=1) - TIE).mean())
