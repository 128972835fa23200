"""TGeo-KD: a ratio for each text between the teacher and the label, where either of them may be wrong."""

from __future__ import annotations

import numpy
import torch
from numpy.typing import NDArray

from eval.mechanism.figures import accuracy, class_scores
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Trained
from leafkit.methods.batch import Batch
from leafkit.methods.objectives.tgeo import Tgeo
from leafkit.types import Float32, Int64

CLAIM = "A ratio between teacher and label that is learned for each text beats every ratio that is the same for all."
PREMISE = "A fifth of the teacher's vectors are swapped, and a tenth of the labels are drawn at random."
CONTROL = "The best of three constant ratios, 0.2, 0.5 and 0.8, chosen on the held-out texts themselves."
FIGURE = (
    "accuracy on 1,000 held-out texts of 77 classes; arms with AUROC say how well a low ratio finds swapped vectors, "
    "or a high one wrong labels, where 0.5 is chance; arms with `labels right` have the swapped vectors only"
)
CONSTANTS = (0.2, 0.5, 0.8)
ARMS = ("tgeo", "best constant", "leaf", "AUROC of swapped vectors", "AUROC of wrong labels")
ARMS += ("tgeo, labels right", "best constant, labels right", "AUROC of swapped vectors, labels right")

METHOD = Tgeo(draws=200, every=4)


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the accuracy of each ratio, and how well the learned ratios find what was planted."""
    texts, held_out = lab.texts("banking77", seed=seed, train=2000, held_out=1000)
    draw = numpy.random.default_rng([seed, 47])
    swapped, wrong = draw.permutation(len(texts))[: len(texts) // 5], draw.permutation(len(texts))[: len(texts) // 10]
    targets, labels = texts.vectors.copy(), texts.labels.copy()
    targets[swapped] = texts.vectors[numpy.roll(swapped, 1)]
    labels[wrong] = draw.integers(0, labels.max() + 1, len(wrong))
    figures = {}
    for suffix, given in (("", labels), (", labels right", texts.labels)):
        specs = {"tgeo": METHOD} | {f"{alpha}": Tgeo(learn=False, alpha=alpha) for alpha in CONSTANTS}
        students = {
            name: lab.train([method], texts, targets=targets, labels=given, seed=seed, steps=400)
            for name, method in specs.items()
        }
        right = {
            name: accuracy(class_scores(student.encode(held_out), texts.vectors, texts.labels), held_out.labels)
            for name, student in students.items()
        }
        figures[f"tgeo{suffix}"] = right.pop("tgeo")
        figures[f"best constant{suffix}"] = max(right.values())
        alpha = ratios(students["tgeo"], texts, targets, given)
        trained = numpy.flatnonzero(students["tgeo"].drawn)
        figures[f"AUROC of swapped vectors{suffix}"] = auroc(-alpha[trained], numpy.isin(trained, swapped))
        if not suffix:
            figures["AUROC of wrong labels"] = auroc(alpha[trained], numpy.isin(trained, wrong))
    leaf = lab.train(["leaf"], texts, targets=targets, seed=seed, steps=400)
    figures["leaf"] = accuracy(class_scores(leaf.encode(held_out), texts.vectors, texts.labels), held_out.labels)
    return figures


def ratios(student: Trained, texts: LabTexts, targets: Float32, labels: Int64) -> Float32:
    """Return alpha of each of ``texts`` at the end of the training, (texts,)."""
    rows = numpy.arange(len(texts))
    outputs = student.student.outputs(torch.from_numpy(texts.features))
    batch = Batch(
        student=outputs.student,
        raw=outputs.raw,
        hidden=outputs.hidden,
        features={},
        teacher=torch.from_numpy(targets),
        rows=torch.from_numpy(rows),
        labels=torch.from_numpy(labels),
        roles=torch.from_numpy(texts.roles),
        domains=torch.from_numpy(texts.domains),
        origin=torch.from_numpy(rows),
    )
    return METHOD.ratios(batch, student.states["tgeo"]).numpy()


def auroc(scores: Float32, planted: NDArray[numpy.bool_]) -> float:
    """Return the share of pairs of a planted and another text in which the planted one has the higher of ``scores``."""
    from scipy.stats import rankdata

    ranks, count = rankdata(scores), int(planted.sum())
    return float((ranks[planted].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))
