"""ACAM-KD in small: masks that see the student against masks of the teacher alone."""

from __future__ import annotations

import numpy

from eval.mechanism.figures import cosine, overlap
from eval.mechanism.lab import Lab
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_rows

CLAIM = "Masks made from student and teacher together weigh the dimensions better than masks of the teacher alone."
PREMISE = "A quarter of the teacher's dimensions is half noise, which no student can learn."
CONTROL = "The same masks, made from the teacher's vectors alone, with the same gradient as LEAF's at the start."
FIGURE = "overlap of the ten nearest texts with the clean teacher's; higher is better"
SPECS = {
    "acam": "acam",
    "teacher alone": "acam:fusion=teacher",
    "reversed": "acam:fusion=reversed",
    "mass held": "acam:guard=mass",
    "mass held, teacher alone": "acam:guard=mass,fusion=teacher",
    "leaf": "",
}
ARMS = (*SPECS, *(f"cosine, {arm}" for arm in SPECS))
# The share of the dimensions with noise, and its standard deviation; an entry of a unit vector has about 0.05.
SHARE, NOISE = 0.25, 0.05


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return overlap and cosine with the clean teacher for LEAF with each kind of masks."""
    train, held_out = lab.texts("mix", seed=seed, train=2000, held_out=1000)
    targets = noisy(train.vectors, seed)
    figures = {}
    for arm, spec in SPECS.items():
        methods, pulls = (["leaf", spec], {"acam": 1.0}) if spec else (["leaf"], {})
        trained = lab.train(methods, train, targets=targets, seed=seed, steps=400, pulls=pulls)
        vectors = trained.encode(held_out)
        figures[arm] = overlap(vectors, held_out.vectors)
        figures[f"cosine, {arm}"] = cosine(vectors, held_out.vectors)
    return figures


def noisy(vectors: Float32, seed: int) -> Float32:
    """Return unit ``vectors`` with noise in a share of their dimensions, which are drawn from ``seed``."""
    draw = numpy.random.default_rng([seed, 14])
    chosen = draw.permutation(vectors.shape[1])[: round(SHARE * vectors.shape[1])]
    changed = vectors.copy()
    changed[:, chosen] += NOISE * draw.standard_normal((len(vectors), len(chosen))).astype(numpy.float32)
    return unit_rows(changed)
