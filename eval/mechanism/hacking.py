"""Teacher hacking: many epochs of few texts, beside a stream of fresh ones, with an oracle behind the teacher."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy

from eval.mechanism.lab import Lab
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job
from leafkit.methods.probes.hacking import Hacking, distance
from leafkit.training.recipe import Recipe

CLAIM = "A student of few texts departs from its power law over the learning rates; a student of a stream does not."
PREMISE = "Oracle MiniLM, a teacher that is a student of it, and a student that sees 500 texts 32 times."
CONTROL = "As many steps on 8,000 texts, each seen twice: the probe must stay silent."
FIGURE = "share of trainings with an alarm; arms with rise give the relative rise of the distance to the oracle"
ARMS = ("few texts", "stream", "50 texts", "few texts, rise", "stream, rise", "50 texts, rise")
SIZES = {"few texts": 500, "stream": 8000, "50 texts": 50}

STEPS, EVERY, BATCH = 1000, 40, 16


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return whether the probe raised its alarm, and the rise of the golden distance above its minimum."""
    teaching, rest = lab.texts("banking77", seed=seed, train=1500, held_out=8500)
    teacher = lab.train(["leaf"], teaching, seed=seed + 100).student
    held_out, stream = rest.choose(numpy.arange(0, 500)), rest.choose(numpy.arange(500, 8500))
    figures = {}
    for arm, size in SIZES.items():
        texts = stream.choose(numpy.arange(0, size))
        taught = replace(texts, vectors=teacher.encode(texts.features))
        alarms, golden = watched(lab, taught, held_out, teacher, seed)
        figures[arm] = float(alarms)
        figures[f"{arm}, rise"] = golden[-1] / min(golden) - 1
    return figures


def watched(lab: Lab, texts: LabTexts, held_out: LabTexts, teacher: Perceptron, seed: int) -> tuple[bool, list[float]]:
    """Return whether the probe raised an alarm in a training on ``texts``, and the golden distances in order."""
    probe, expected = Hacking(), teacher.encode(held_out.features)
    recipe = Recipe(learning_rate=Job.learning_rate)
    history: list[dict[str, Any]] = []
    golden: list[float] = []

    def watch(student: Perceptron) -> None:
        vectors = student.encode(held_out.features)
        look: Any = SimpleNamespace(
            student=vectors,
            teacher=expected,
            history=list(history),
            step=EVERY * len(history),
            steps=STEPS,
            rates=numpy.array([recipe.rate(step, STEPS) for step in range(STEPS)]),
            validations=1 + STEPS // EVERY,
        )
        history.append({"step": look.step, "hacking": probe.observe(look)})
        golden.append(distance(vectors, held_out.vectors))

    job: dict[str, Any] = {"steps": STEPS, "batch_size": BATCH, "ridge": False, "watch": watch, "watch_every": EVERY}
    lab.train(["leaf"], texts, seed=seed, **job)
    return any("refresh_data" in row["hacking"].get("events", ()) for row in history), golden
