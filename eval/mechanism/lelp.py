"""LELP: sub-classes along the teacher's own directions, for tasks of few and of many classes."""

from __future__ import annotations

import numpy
import torch

from eval.mechanism.figures import accuracy
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Trained
from leafkit.types import Int64

CLAIM = "With few classes, sub-classes along the teacher's directions transfer more than the classes alone."
PREMISE = "77 classes are merged into 2, 4, 8 or 32 that lie together; 300 texts, and no loss but this one."
CONTROL = "The same number of sub-classes along random directions."
FIGURE = "accuracy of the second head for two classes on 2,000 held-out texts; other arms name their classes"
SIZES = (2, 4, 8, 32, 77)
ARMS = (
    "lelp",
    "random partition",
    "classes alone",
    *(f"{arm}, {count} classes" for count in SIZES[1:] for arm in ("lelp", "classes alone")),
)


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the accuracy of each arm."""
    train, held_out = lab.texts("banking77", seed=seed, train=300, held_out=2000)
    whole = lab.all_texts("banking77")
    figures = {}
    for count in SIZES:
        merged = merge(whole, count)
        specs = {"lelp": "lelp:anchors=labels", "classes alone": "lelp:anchors=labels,subclasses=1"}
        if count == SIZES[0]:
            specs["random partition"] = "lelp:anchors=labels,partition=random"
        for arm, spec in specs.items():
            student = lab.train([spec], train, labels=merged[train.labels], seed=seed, steps=300)
            name = arm if count == SIZES[0] else f"{arm}, {count} classes"
            figures[name] = accuracy(_chances(student, held_out, count), merged[held_out.labels])
    return figures


def merge(texts: LabTexts, count: int) -> Int64:
    """Return the group of each of the 77 classes, (77,): ``count`` groups whose means lie together."""
    from scipy.cluster.hierarchy import fcluster, linkage

    means = numpy.stack([texts.vectors[texts.labels == label].mean(axis=0) for label in range(texts.labels.max() + 1)])
    return fcluster(linkage(means, method="ward"), count, criterion="maxclust").astype(numpy.int64) - 1


@torch.inference_mode()
def _chances(student: Trained, texts: LabTexts, count: int) -> numpy.typing.NDArray[numpy.float32]:
    """Return the probability of each class by the second head, (texts, count), summed over its sub-classes."""
    hidden = torch.from_numpy(student.student.hidden(texts.features))
    joint = student.states["lelp"].head(hidden).softmax(dim=-1)
    return joint.reshape(len(joint), count, -1).sum(dim=-1).numpy()
