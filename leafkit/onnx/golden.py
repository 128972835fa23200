"""Texts on which an export is judged and which travel with it, and the judgement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.errors import ExportError
from leafkit.types import Float32, Role

# The short ones first: `leafkit.query` encodes a few of them whenever it opens the file.
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


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What an exported file must reach against the trained student: cosines, and agreement of the nearest text."""

    least_cosine: float
    mean_cosine: float
    nearest: float


# float32 differs by rounding alone. int8: MiniLM and BGE students lie at 0.998 and more on average and at 0.993 at
# worst; their rankings agree but for near ties.
BOUNDS = {
    "float32": Bounds(least_cosine=0.99999, mean_cosine=0.99999, nearest=1.0),
    "int8": Bounds(least_cosine=0.97, mean_cosine=0.99, nearest=0.75),
}


def judge(precision: str, wanted: Float32, got: Float32) -> dict[str, float]:
    """The figures of an exported file; ``wanted`` and ``got`` are the vectors of `GOLDEN`, shape (texts, dim).

    Raises `ExportError` where one falls short of its bound.
    """
    cosines = (_unit(wanted) * _unit(got)).sum(axis=1)
    figures = {
        "least_cosine": float(cosines.min()),
        "mean_cosine": float(cosines.mean()),
        "nearest": float((_nearest(wanted) == _nearest(got)).mean()),
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


def _unit(vectors: Float32) -> Float32:
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _nearest(vectors: Float32) -> numpy.ndarray:
    unit = _unit(vectors)
    similarity = unit @ unit.T
    numpy.fill_diagonal(similarity, -numpy.inf)
    return similarity.argmax(axis=1)
