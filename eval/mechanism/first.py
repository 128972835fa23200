"""FIRST: calibrate the teacher's largest probabilities before the student learns them, or not."""

from __future__ import annotations

import numpy
import torch

from eval.mechanism.lab import Lab
from leafkit.methods.anchors import Anchors
from leafkit.methods.candidates import choices
from leafkit.methods.objectives.first import fit_tau
from leafkit.types import Float32, Int64

CLAIM = "A student of the teacher's calibrated top-5 probabilities can be trusted more than one of the raw top-5."
PREMISE = "A teacher that is far from calibrated: it gives 0.5 to its first class, which is right in 0.84 of the cases."
CONTROL = "The same loss on the teacher's probabilities as they are (tau = 1)."
FIGURE = (
    "trust, which is accuracy less expected calibration error, on 1,000 held-out texts of 77 classes; arms `scaled "
    "after` divide the student's logits by a temperature fitted to the reserved texts; arms with ECE give the error, "
    "less is better"
)
TOPS = (1, 20, 77)
ARMS = ("first", "uncalibrated", "cross-entropy", "leaf")
ARMS += tuple(f"{arm}, scaled after" for arm in ARMS)
ARMS += ("first ECE", "uncalibrated ECE", "first accuracy", "uncalibrated accuracy", "mass of the top 5")
ARMS += tuple(f"first, top {most}" for most in TOPS)

BINS = 15


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the trust of LEAF with each loss, of weight 1, and what it is made of."""
    train, held_out = lab.texts("banking77", seed=seed, train=2000, held_out=1000)
    first = "first:weight=1,calibration=300"
    methods = {
        "first": ["leaf", first],
        "uncalibrated": ["leaf", "first:weight=1,calibration=0"],
        "cross-entropy": ["leaf", "pskd:weight=1,anchors=labels,alpha=0"],
        "leaf": ["leaf"],
        **{f"first, top {most}": ["leaf", f"{first},most={most}"] for most in TOPS},
    }
    students = {arm: lab.train(specs, train, seed=seed, steps=400) for arm, specs in methods.items()}
    state = students["first"].states["first"]
    rows = numpy.flatnonzero(students["first"].drawn == 0)
    figures = {}
    for arm, student in students.items():
        chances = probabilities(state.items, student.encode(held_out))
        figures[f"{arm} accuracy"] = float((chances.argmax(axis=1) == held_out.labels).mean())
        figures[f"{arm} ECE"] = calibration_error(chances, held_out.labels)
        figures[arm] = figures[f"{arm} accuracy"] - figures[f"{arm} ECE"]
        logits = state.items.logits(torch.from_numpy(student.encode(train)[rows]))
        gold = choices(state.items, torch.from_numpy(rows), torch.from_numpy(train.labels[rows])).gold
        scaled = probabilities(state.items, student.encode(held_out), fit_tau(logits, gold))
        figures[f"{arm}, scaled after"] = figures[f"{arm} accuracy"] - calibration_error(scaled, held_out.labels)
    teacher = probabilities(state.items, held_out.vectors, float(state.tau))
    figures["mass of the top 5"] = float(numpy.sort(teacher, axis=1)[:, -5:].sum(axis=1).mean())
    return figures


def probabilities(anchors: Anchors, vectors: Float32, tau: float = 1.0) -> Float32:
    """Return the probabilities of the anchors for ``vectors`` (rows, dim) at temperature ``tau``, (rows, count)."""
    return (anchors.logits(torch.from_numpy(vectors)) / tau).softmax(dim=-1).numpy()


def calibration_error(chances: Float32, labels: Int64) -> float:
    """Return the expected calibration error of ``chances`` (rows, classes): accuracy against confidence in 15 bins."""
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    place = numpy.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float((right[place == one] - confidence[place == one]).sum())) for one in range(BINS)]
    return sum(gaps) / len(labels)
