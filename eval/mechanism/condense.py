"""Condensed texts: a chosen share of the texts, beside a random one that covers the sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from leafkit.methods.writers.condense import choose
from leafkit.types import Int64

CLAIM = "A few texts chosen by the teacher's vectors train better than as many random ones, for other students too."
PREMISE = "Few texts: 2, 5 and 25 % of 3,000 texts of eight sources."
CONTROL = "Random texts in the same number from each source, which have the coverage without the choice."
FIGURE = "mean cosine on held-out texts, for 5 % of the texts; other arms name their share or student"
ARMS = (
    "kcenter",
    "stratified",
    "herding",
    "omp",
    "random",
    *(f"{arm}, {share} %" for share in (2, 25) for arm in ("kcenter", "herding", "stratified")),
    *(f"{arm}, other student" for arm in ("kcenter", "stratified")),
)


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of a student for each choice of texts."""
    train, held_out = lab.texts("mix", seed=seed)
    choices: dict[str, Callable[[int], Int64]] = {
        mode: lambda count, mode=mode: choose(train.vectors, count, mode, seed)
        for mode in ("kcenter", "herding", "omp", "random")
    }
    choices["stratified"] = lambda count: stratified(train, count, seed)

    def figure(arm: str, share: float, **job: Any) -> float:
        chosen = train.choose(numpy.sort(choices[arm](round(share * len(train)))))
        return cosine(lab.train(["leaf"], chosen, seed=seed, steps=300, **job).encode(held_out), held_out.vectors)

    figures = {arm: figure(arm, 0.05) for arm in ARMS[:5]}
    for share in (2, 25):
        for arm in ("kcenter", "herding", "stratified"):
            figures[f"{arm}, {share} %"] = figure(arm, share / 100)
    for arm in ("kcenter", "stratified"):
        figures[f"{arm}, other student"] = figure(arm, 0.05, width=24, depth=2)
    return figures


def stratified(texts: LabTexts, count: int, seed: int) -> Int64:
    """Return ``count`` random rows of ``texts``, in the same number from each source as far as possible."""
    order = numpy.random.default_rng([seed, 43]).permutation(len(texts))
    domains = texts.domains[order]
    ranks = numpy.empty(len(order), dtype=numpy.int64)
    for domain in numpy.unique(domains):
        places = numpy.flatnonzero(domains == domain)
        ranks[places] = numpy.arange(len(places))
    return order[numpy.argsort(ranks, kind="stable")[:count]]
