"""BOOT in small: random words of the vocabulary, with the teacher's vectors at once or along a path."""

from __future__ import annotations

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.rounds import run_rounds
from eval.mechanism.training import Job
from eval.mechanism.writing import LabAsk, prepared, table_of
from leafkit.methods.writers.boot import Boot
from leafkit.types import ROLES

CLAIM = "Without any text, a student that is led along a path of bootstrapped targets learns as well or better."
PREMISE = "No text: 1,500 texts of random words of the teacher's vocabulary; held-out texts are real."
CONTROL = "The teacher's vectors at once, for the same texts and the same number of steps."
FIGURE = "mean cosine on held-out texts; `real texts` are as many given ones, `bigrams` and `unigrams` count them"
ARMS = ("path", "at once", "path, 6 stages", "unigrams", "bigrams", "real texts", "ridge start on real texts")

TEXTS, HELD_OUT, STEPS = 1500, 500, 600


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each arm."""
    given, held_out = lab.texts("mix", seed=seed, train=TEXTS, held_out=HELD_OUT)
    table, ask = table_of(given), LabAsk(lab)
    tables = {source: Boot(source=source).write(table, ask, seed) for source in ("words", "unigrams", "bigrams")}
    parts = {source: list(zip(made.texts, made.roles, strict=True)) for source, made in tables.items()}
    parts["real texts"] = [(text, ROLES[role]) for text, role in zip(given.texts, given.roles, strict=True)]
    texts, held_out = prepared(lab, parts, held_out)
    figures = {}
    for arm, stages in (("path", 3), ("path, 6 stages", 6)):
        trained = run_rounds(Boot(stages=stages), texts["words"], Job(steps=STEPS // stages, seed=seed))
        figures[arm] = cosine(trained.encode(held_out), held_out.vectors)
    for arm, source in (("at once", "words"), *((name, name) for name in ("unigrams", "bigrams", "real texts"))):
        trained = lab.train(["leaf"], texts[source], seed=seed, steps=STEPS)
        figures[arm] = cosine(trained.encode(held_out), held_out.vectors)
    start = lab.train(["leaf"], texts["real texts"], seed=seed, steps=1)
    return figures | {ARMS[-1]: cosine(start.encode(held_out), held_out.vectors)}
