"""Curriculum: short texts first, beside a curriculum in random order and beside none."""

from __future__ import annotations

from dataclasses import replace

import numpy

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab

CLAIM = "Training on short texts first and adding longer ones reaches a better student in the same number of steps."
PREMISE = "Texts of 3 to 64 tokens, a student from a random start, and one epoch."
CONTROL = "The same growing pool of texts in a random order, which has the curriculum's repetition without its order."
FIGURE = "mean cosine on held-out texts"
ARMS = ("curriculum", "random order", "leaf", "longest first")


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each arm after one epoch."""
    train, held_out = lab.texts("mix", seed=seed)
    shuffled = numpy.random.default_rng([seed, 37]).permutation(train.lengths)
    orders = {
        "curriculum": (["leaf", "curriculum"], train.lengths),
        "random order": (["leaf", "curriculum"], shuffled),
        "leaf": (["leaf"], train.lengths),
        "longest first": (["leaf", "curriculum"], train.lengths.max() - train.lengths + 1),
    }
    figures = {}
    for arm, (methods, lengths) in orders.items():
        ordered = replace(train, lengths=lengths)
        student = lab.train(methods, ordered, seed=seed, steps=94, ridge=False)
        figures[arm] = cosine(student.encode(held_out), held_out.vectors)
    return figures
