"""Self-distillation: generations that learn from each other, on noisy and on quantised vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.rounds import run_rounds
from eval.mechanism.training import Job
from leafkit.methods.topologies.self_distillation import SelfDistillation
from leafkit.types import Float32

CLAIM = "Generations that learn a mix of the teacher and their predecessor are regularised against noisy targets."
PREMISE = "Noise as long as the vectors themselves is added to the teacher's vectors of 1,000 texts."
CONTROL = "LEAF with the steps of one generation, because fewer steps regularise too; as many as all are beside it."
FIGURE = "mean cosine with the clean vectors of held-out texts"
ARMS = ("generations", "leaf, steps of one", "leaf", "int4, generations", "int4, leaf")

STEPS = 400


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each arm."""
    train, held_out = lab.texts("banking77", seed=seed, train=1000)
    figures = {}
    for prefix, targets in (("", noisy(train.vectors, seed)), ("int4, ", quantised(train.vectors))):
        texts, topology = replace(train, vectors=targets), SelfDistillation()
        students = {
            "generations": run_rounds(topology, texts, Job(seed=seed, steps=STEPS)),
            "leaf": lab.train(["leaf"], texts, seed=seed, steps=STEPS * (1 + topology.generations)),
        }
        for arm, student in students.items():
            figures[f"{prefix}{arm}"] = cosine(student.encode(held_out), held_out.vectors)
    once = lab.train(["leaf"], train, targets=noisy(train.vectors, seed), seed=seed, steps=STEPS)
    return figures | {"leaf, steps of one": cosine(once.encode(held_out), held_out.vectors)}


def noisy(vectors: Float32, seed: int) -> Float32:
    """Return unit ``vectors`` (rows, dim) plus Gaussian noise of length 1, as unit vectors."""
    noise = numpy.random.default_rng([seed, 47]).standard_normal(vectors.shape) / vectors.shape[1] ** 0.5
    return _unit(vectors + noise)


def quantised(vectors: Float32) -> Float32:
    """Return unit ``vectors`` (rows, dim) with each dimension in 16 steps between its extremes, as unit vectors."""
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    steps = numpy.maximum(high - low, 1e-6) / 15
    return _unit(numpy.round((vectors - low) / steps) * steps + low)


def _unit(vectors: numpy.typing.NDArray[numpy.floating]) -> Float32:
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype(numpy.float32)
