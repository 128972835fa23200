"""ND: a pull towards the teacher's class means, beside cross-entropy with the same labels."""

from __future__ import annotations

import numpy

from eval.mechanism.figures import accuracy, class_scores, neighbour_order
from eval.mechanism.lab import Lab
from leafkit.types import Float32, Int64

CLAIM = "Aligning the student's vector with the teacher's class mean improves classification beyond logit losses."
PREMISE = "Few labelled texts: 1,000 texts of 77 classes, and the class means of the teacher."
CONTROL = "Cross-entropy with the same labels at the same gradient pull."
FIGURE = "accuracy on 2,000 held-out texts; arms with order give the Kendall tau of neighbours inside a class"
ARMS = ("nd", "cross-entropy", "leaf", "nd order", "cross-entropy order", "leaf order")

PULL = 0.3
METHODS = {"nd": "nd:anchors=labels", "cross-entropy": "pskd:alpha=0,anchors=labels", "leaf": "leaf"}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return accuracy and order of LEAF with each loss."""
    train, held_out = lab.texts("banking77", seed=seed, train=1000, held_out=2000)
    figures = {}
    for arm, method in METHODS.items():
        methods = ["leaf"] if arm == "leaf" else ["leaf", method]
        pulls = {} if arm == "leaf" else {method.partition(":")[0]: PULL}
        vectors = lab.train(methods, train, seed=seed, pulls=pulls).encode(held_out)
        figures[arm] = accuracy(class_scores(vectors, train.vectors, train.labels), held_out.labels)
        figures[f"{arm} order"] = order_inside(vectors, held_out.vectors, held_out.labels)
    return figures


def order_inside(student: Float32, teacher: Float32, labels: Int64) -> float:
    """Return the Kendall tau of all neighbours inside a class, averaged over the classes with ten texts or more."""
    taus = []
    for label in range(int(labels.max()) + 1):
        rows = numpy.flatnonzero(labels == label)
        if len(rows) >= 10:
            taus.append(neighbour_order(student[rows], teacher[rows], len(rows) - 1))
    return float(numpy.mean(taus))
