"""DHO in small: two heads against one with few labels beside many texts without."""

from __future__ import annotations

import numpy

from eval.mechanism.figures import accuracy, class_scores
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from leafkit.types import Int64

CLAIM = "With few labels, a head for the labels and a head for the teacher classify better together than one for both."
PREMISE = "1, 2, 4, 8 or 16 labelled queries of each of 77 classes of Banking77, beside thousands without a label."
CONTROL = "Cross-entropy and KL divergence on one head, with the same student, texts, labels and steps."
FIGURE = "accuracy on held-out queries, mean over the five numbers of labels; higher is better"
FIGURES = {
    "dho": "dho:heads=two",
    "one head": "dho:heads=one",
    "cross-entropy alone": "dho:heads=one,share=1",
    "KL alone": "dho:heads=one,share=0",
}
STEPS = 300
BUDGETS = (1, 2, 4, 8, 16)
ARMS = (*FIGURES, *(f"dho, {count} a class" for count in BUDGETS), *(f"one head, {count} a class" for count in BUDGETS))


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the accuracy of every arm; the arms with a number of labels show the first two in detail."""
    train, held_out = lab.texts("banking77", seed=seed, train=3000, held_out=2000)
    found = {
        arm: [classified(lab, spec, train, held_out, few_labels(train.labels, count, seed), seed) for count in BUDGETS]
        for arm, spec in FIGURES.items()
    }
    figures = {arm: float(numpy.mean(each)) for arm, each in found.items()}
    for arm in ("dho", "one head"):
        figures |= {f"{arm}, {count} a class": each for count, each in zip(BUDGETS, found[arm], strict=True)}
    return figures


def classified(lab: Lab, spec: str, train: LabTexts, held_out: LabTexts, labels: Int64, seed: int) -> float:
    """Return the accuracy of the student that ``spec`` trains, by the class means of all labelled texts."""
    trained = lab.train([f"{spec},weight=1"], train, labels=labels, seed=seed, steps=STEPS)
    return accuracy(class_scores(trained.encode(held_out), train.vectors, labels), held_out.labels)


def few_labels(labels: Int64, count: int, seed: int) -> Int64:
    """Return ``labels`` with all but ``count`` texts of each class set to -1; more labels include the fewer."""
    order = numpy.random.default_rng([seed, 8]).permutation(len(labels))
    few = numpy.full(len(labels), -1, dtype=numpy.int64)
    for label in numpy.unique(labels):
        rows = order[labels[order] == label][:count]
        few[rows] = label
    return few
