"""Anchors: fixed unit vectors that turn an embedding into a distribution, for methods born in classification."""

from __future__ import annotations

from typing import Literal, get_args

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.batch import Batch
from leafkit.methods.setting import Setting

AnchorKind = Literal["clusters", "labels", "texts"]

SAMPLE = 20_000
ROUNDS = 20
CONFIDENCE = 0.5


class Anchors(nn.Module):
    """``centres`` (count, dim) in the teacher's space and the ``temperature`` that suits its cosines with them.

    Student and teacher are both measured against the teacher's anchors, since both write into its space.
    """

    centres: Tensor
    temperature: Tensor

    def __init__(self, centres: Tensor, temperature: float, *, by_labels: bool) -> None:
        """Keep the unit vectors ``centres``; with ``by_labels`` centre ``k`` is that of class ``k``."""
        super().__init__()
        self.register_buffer("centres", centres)
        self.register_buffer("temperature", torch.tensor(temperature))
        self.by_labels = by_labels

    def logits(self, vectors: Tensor) -> Tensor:
        """Cosines with all anchors over the temperature, (rows, count), float32 or better."""
        wide = vectors if vectors.dtype == torch.float64 else vectors.float()
        return normalize(wide, dim=-1) @ self.centres.to(wide.dtype).T / self.temperature.to(wide.dtype)

    def classes(self, batch: Batch) -> Tensor:
        """The class of each text, (rows,): its own where the anchors are classes, else the teacher's nearest anchor."""
        nearest = self.logits(batch.teacher).argmax(dim=-1)
        if not self.by_labels or batch.labels is None:
            return nearest
        return torch.where(batch.labels >= 0, batch.labels, nearest)


def fit_anchors(setting: Setting, kind: AnchorKind, count: int) -> Anchors:
    """Anchors of the training texts by the teacher's vectors; ``count`` is unused where classes are given.

    ``clusters`` are spherical k-means centres, ``labels`` the mean of each class, ``texts`` training texts themselves.
    The temperature is bisected until the teacher's mean largest probability is a half (paper temperatures are for
    logits of classifiers; cosines live in a narrow band). Raises `OptionError` where there are too few texts.
    """
    if kind not in get_args(AnchorKind):
        raise OptionError(f"anchors is {kind!r}; wanted one of {', '.join(get_args(AnchorKind))}")
    rows = setting.sample(SAMPLE)
    if kind == "labels":
        # A class that the sample misses would have no centre.
        rows = numpy.union1d(rows, numpy.unique(setting.labels, return_index=True)[1])
    vectors = normalize(torch.from_numpy(setting.targets(rows)), dim=-1)
    if kind == "labels":
        centres = _means(vectors, torch.from_numpy(setting.labels[rows]), int(setting.labels.max()) + 1)
    elif not 2 <= count <= len(rows):
        raise OptionError(f"count is {count}; wanted 2 to {len(rows)} anchors, the number of training texts")
    else:
        draw = numpy.random.default_rng(setting.seed)
        centres = vectors[torch.from_numpy(draw.permutation(len(rows))[:count])]
        if kind == "clusters":
            centres = _spherical_means(vectors, centres)
    return Anchors(centres, fit_temperature(vectors @ centres.T), by_labels=kind == "labels")


def fit_temperature(cosines: Tensor, confidence: float = CONFIDENCE) -> float:
    """The temperature at which the mean largest probability of softmax(cosines / temperature) is ``confidence``."""
    low, high = 1e-4, 10.0
    confidence = max(confidence, 1.01 / cosines.shape[1])
    for _ in range(60):
        middle = (low * high) ** 0.5
        if float(torch.softmax(cosines / middle, dim=-1).amax(dim=-1).mean()) > confidence:
            low = middle
        else:
            high = middle
    return (low * high) ** 0.5


def _spherical_means(vectors: Tensor, centres: Tensor) -> Tensor:
    for _ in range(ROUNDS):
        nearest = (vectors @ centres.T).argmax(dim=-1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        empty = sums.norm(dim=-1) == 0
        centres = torch.where(empty[:, None], centres, normalize(sums, dim=-1))
    return centres


def _means(vectors: Tensor, labels: Tensor, count: int) -> Tensor:
    """One centre a class."""
    if count < 2:
        raise OptionError("anchors of labels need texts of at least two classes in their label column")
    known = labels >= 0
    sums = torch.zeros(count, vectors.shape[1]).index_add_(0, labels[known], vectors[known])
    return normalize(sums, dim=-1)
