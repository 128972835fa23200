"""PS-KD: the student's own past prediction in the target, beside plain cross-entropy with the same labels."""

from __future__ import annotations

import numpy

from eval.mechanism.figures import accuracy, class_scores
from eval.mechanism.lab import Lab

CLAIM = "Targets softened by the student's own past predictions generalise better than the labels alone."
PREMISE = "Few labelled texts: 1,000 texts of 77 classes, 20 epochs, on which cross-entropy overfits."
CONTROL = "Cross-entropy with the same labels, weight and steps (alpha = 0), without past predictions."
FIGURE = "accuracy on 2,000 held-out texts; arms with NLL give the negative log-likelihood instead, less is better"
ARMS = ("pskd", "cross-entropy", "leaf", "pskd NLL", "cross-entropy NLL")

CLASSES = "pskd:weight=1,anchors=labels"


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return accuracy and NLL of LEAF with each loss."""
    train, held_out = lab.texts("banking77", seed=seed, train=1000, held_out=2000)
    methods = {
        "pskd": ["leaf", CLASSES],
        "cross-entropy": ["leaf", f"{CLASSES},alpha=0"],
        "leaf": ["leaf"],
    }
    figures = {}
    for arm, specs in methods.items():
        student = lab.train(specs, train, seed=seed)
        scores = class_scores(student.encode(held_out), train.vectors, train.labels)
        figures[arm] = accuracy(scores, held_out.labels)
        temperature = float(student.states["pskd"].anchors.temperature) if "pskd" in student.states else 1.0
        logits = scores / temperature
        chances = logits - numpy.logaddexp.reduce(logits, axis=1, keepdims=True)
        figures[f"{arm} NLL"] = -float(chances[numpy.arange(len(chances)), held_out.labels].mean())
    return figures
