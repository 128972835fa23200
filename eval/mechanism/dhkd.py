"""DHKD: the logit loss on a second head, beside the same loss on the student's own head."""

from __future__ import annotations

from typing import Any

from eval.mechanism.figures import overlap
from eval.mechanism.lab import Lab

CLAIM = "A logit loss on the student's own head conflicts with its main loss; on a second head it helps."
PREMISE = "Conflict: BinaryKL-Norm over 64 anchors pulls as hard as LEAF does, on a student of 24 hidden units."
CONTROL = "The same loss with the same weight on the student's own head."
FIGURE = "overlap@10 on held-out texts"
ARMS = ("two heads", "one head", "leaf", "two heads, aligned", "two heads, pull 0.1", "one head, pull 0.1")

JOB: dict[str, Any] = {"width": 24, "steps": 1000}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the overlap of LEAF with each loss; the pull of two heads sets the weight of both."""
    train, held_out = lab.texts("banking77", seed=seed)
    pulls = {"two heads": 1.0, "two heads, pull 0.1": 0.1}
    figures, weights = {}, {}
    for arm, pull in pulls.items():
        # A linear second head, because one with more units would be more than a second head.
        student = lab.train(["leaf", "dhkd:units=0"], train, seed=seed, pulls={"dhkd": pull}, **JOB)
        weights[arm] = student.weights["dhkd"]
        figures[arm] = overlap(student.encode(held_out), held_out.vectors)
    weight, small = weights.values()
    methods = {
        "one head": ["leaf", f"dhkd:heads=one,weight={weight}"],
        "leaf": ["leaf"],
        "two heads, aligned": ["leaf", f"dhkd:units=0,align=true,weight={weight}"],
        "one head, pull 0.1": ["leaf", f"dhkd:heads=one,weight={small}"],
    }
    for arm, specs in methods.items():
        student = lab.train(specs, train, seed=seed, **JOB)
        figures[arm] = overlap(student.encode(held_out), held_out.vectors)
    return figures
