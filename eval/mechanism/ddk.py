"""DDK: more draws for the domains in which the student lags, where one domain is scarce."""

from __future__ import annotations

import numpy

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from leafkit.types import Float32, Int64

CLAIM = "Drawing by the student's measured lag lifts the worst domain more than drawing all domains equally does."
PREMISE = "Four domains that differ in difficulty, one of them with 120 texts and the others with 500."
CONTROL = "The same number of texts from each domain in every step (alpha = 0)."
FIGURE = "mean cosine of the worst domain on held-out texts; arms with mean give the mean over the domains"
ARMS = ("ddk", "uniform", "proportional", "paper's sharpness", "ddk, mean", "uniform, mean", "proportional, mean")

DOMAINS, SCARCE = (0, 2, 5, 7), 120
METHODS = {
    "ddk": ["leaf", "ddk:every=25"],
    "uniform": ["leaf", "ddk:every=25,alpha=0"],
    "proportional": ["leaf"],
    "paper's sharpness": ["leaf", "ddk:every=25,sharpness=1"],
}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the worst and the mean cosine over the domains of each arm."""
    texts = lab.all_texts("mix")
    draw = numpy.random.default_rng([seed, 59])
    rows = [draw.permutation(numpy.flatnonzero(texts.domains == domain)) for domain in DOMAINS]
    # Each seed makes another domain scarce.
    sizes = [SCARCE if place == seed % len(DOMAINS) else 500 for place in range(len(DOMAINS))]
    train = texts.choose(numpy.concatenate([own[:size] for own, size in zip(rows, sizes, strict=True)]))
    held_out = texts.choose(numpy.concatenate([own[500:] for own in rows]))
    figures = {}
    for arm, methods in METHODS.items():
        vectors = lab.train(methods, train, seed=seed, steps=100).encode(held_out)
        found = by_domain(vectors, held_out.vectors, held_out.domains)
        figures[arm], figures[f"{arm}, mean"] = min(found), sum(found) / len(found)
    return figures


def by_domain(student: Float32, teacher: Float32, domains: Int64) -> list[float]:
    """Return the mean cosine of each domain."""
    return [cosine(student[domains == domain], teacher[domains == domain]) for domain in numpy.unique(domains)]
