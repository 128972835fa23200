"""PCoreSet: which texts to ask the teacher about, from a start that knows the first texts only."""

from __future__ import annotations

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from leafkit.methods.growing import first_rows

CLAIM = "Within a budget of teacher calls, texts with unlike predictions teach more than texts at random."
PREMISE = "Budgets of 3, 6 and 12 % of 3,000 texts, and a head that starts from 40 of them."
CONTROL = "Random texts in the same rounds, with the same budget and start."
FIGURE = "mean cosine on held-out texts, at a budget of 6 %; other arms name theirs"
ARMS = ("pcoreset", "random", "feature", "pcoreset, 3 %", "random, 3 %", "pcoreset, 12 %", "random, 12 %")

FIRST, STEPS = 40, 400
SPACES = {"pcoreset": "prob", "random": "random", "feature": "feature"}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each arm."""
    train, held_out = lab.texts("mix", seed=seed)
    start = started(train, seed)
    figures = {}
    for share in (0.06, 0.03, 0.12):
        for arm, space in SPACES.items():
            if arm == "feature" and share != 0.06:
                continue
            picks = round((share * len(train) - FIRST) / 5)
            feed = f"pcoreset:every=40,first={FIRST},picks={picks},share={share},space={space}"
            student = lab.train(["leaf", feed], train, seed=seed, steps=STEPS, start=start)
            name = arm if share == 0.06 else f"{arm}, {share:.0%}".replace("%", " %")
            figures[name] = cosine(student.encode(held_out), held_out.vectors)
    return figures


def started(train: LabTexts, seed: int) -> Perceptron:
    """Return a student whose head is fitted to the first texts alone."""
    inputs, dim = train.features.shape[1], train.vectors.shape[1]
    student, known = Perceptron(inputs, width=96, depth=1, dim=dim, seed=seed), first_rows(len(train), FIRST, seed)
    student.start_head(train.features[known], train.vectors[known])
    return student
