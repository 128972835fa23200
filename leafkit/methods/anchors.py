"""Anchors: fixed unit vectors that turn an embedding into a distribution over classes.

Methods from classification compare logits of classes. An embedding model has none, so the cosines of a vector with the
anchors, divided by a temperature, take their place.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.setting import Facts, Setting

AnchorKind = Literal["clusters", "labels", "texts"]

SAMPLE = 20_000
ROUNDS = 20
CONFIDENCE = 0.5


class Anchors(nn.Module):
    """Unit vectors ``centres`` (count, dim) in the teacher's space, and the ``temperature`` that divides cosines.

    Student and teacher are compared with the same anchors, because both write into the teacher's space.
    """

    centres: Tensor
    temperature: Tensor

    def __init__(self, centres: Tensor, temperature: float, *, by_labels: bool) -> None:
        """Store unit vectors ``centres``; ``by_labels`` says that centre ``k`` belongs to class ``k`` of the texts."""
        super().__init__()
        self.register_buffer("centres", centres)
        self.register_buffer("temperature", torch.tensor(temperature))
        self.by_labels = by_labels

    def logits(self, vectors: Tensor) -> Tensor:
        """Return the cosines of ``vectors`` with all anchors over the temperature, (rows, count), float32 or better."""
        wide = vectors if vectors.dtype == torch.float64 else vectors.float()
        return normalize(wide, dim=-1) @ self.centres.to(wide.dtype).T / self.temperature.to(wide.dtype)

    def classes(self, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Return the class of each text, (rows,).

        The class is the text's label if the anchors are classes and the text has a label (0 or more in ``labels``,
        (rows,)). Otherwise it is the anchor nearest to the text's ``teacher`` vector, (rows, dim).
        """
        nearest = self.logits(teacher).argmax(dim=-1)
        if not self.by_labels or labels is None:
            return nearest
        return torch.where(labels >= 0, labels, nearest)


def check_anchor_fields(kind: str, count: int) -> dict[str, tuple[bool, str]]:
    """Return the checks of the fields ``anchors`` and ``count``, for `Method.check_fields`."""
    return {
        "anchors": (kind in get_args(AnchorKind), "clusters, labels or texts"),
        "count": (count >= 2, "2 or more anchors"),
    }


def anchor_needs(kind: str) -> frozenset[str]:
    """Return the signals that anchors of this ``kind`` need: the labels of the texts for ``labels``, else nothing."""
    return frozenset({"labels"} if kind == "labels" else ())


def check_anchors(facts: Facts, kind: AnchorKind, count: int) -> None:
    """Raise `OptionError` if anchors of this ``kind`` cannot be fitted to a training of these ``facts``.

    The reasons are an unknown kind, more anchors than texts, and texts of fewer than two classes.
    """
    most = min(facts.texts, SAMPLE)
    if kind not in get_args(AnchorKind):
        raise OptionError(f"anchors is {kind!r}; expected {', '.join(get_args(AnchorKind))}")
    if kind == "labels" and facts.classes < 2:
        raise OptionError(
            "anchors=labels needs texts of at least two classes. Provide texts with a `label` column, or use "
            "anchors=clusters."
        )
    if kind != "labels" and not 2 <= count <= most:
        raise OptionError(
            f"count is {count}; expected 2 to {most} anchors, the number of training texts. Lower the count or give "
            "more texts."
        )


def fit_anchors(setting: Setting, kind: AnchorKind, count: int) -> Anchors:
    """Fit anchors to the teacher's vectors of the training texts.

    ``kind`` is ``clusters`` (spherical k-means centres), ``labels`` (the mean of each class; ``count`` is ignored) or
    ``texts`` (training texts). The temperature is found by bisection, so that the teacher's largest probability is
    0.5 on average. The temperatures of papers do not fit, because they are for logits of classifiers, and cosines lie
    in a narrow band.

    Raises `OptionError` as `check_anchors` does.
    """
    check_anchors(setting, kind, count)
    rows = setting.sample(SAMPLE)
    if kind == "labels":
        # Without this, a class that the sample misses would have no centre.
        rows = numpy.union1d(rows, numpy.unique(setting.labels, return_index=True)[1])
    vectors = normalize(torch.from_numpy(setting.targets(rows)), dim=-1)
    if kind == "labels":
        centres = _means(vectors, torch.from_numpy(setting.labels[rows]), int(setting.labels.max()) + 1)
    else:
        draw = numpy.random.default_rng(setting.seed)
        centres = vectors[torch.from_numpy(draw.permutation(len(rows))[:count])]
        if kind == "clusters":
            centres = _spherical_means(vectors, centres)
    return Anchors(centres, fit_temperature(vectors @ centres.T), by_labels=kind == "labels")


def fit_temperature(cosines: Tensor, confidence: float = CONFIDENCE) -> float:
    """Return the temperature T at which the largest value of softmax(cosines / T) is ``confidence`` on average.

    It is 0.75 for two classes, because 0.5 would be no information.
    """
    low, high = 1e-4, 10.0
    confidence = max(confidence, 1.5 / cosines.shape[1])
    for _ in range(60):
        middle = (low * high) ** 0.5
        if float(torch.softmax(cosines / middle, dim=-1).amax(dim=-1).mean()) > confidence:
            low = middle
        else:
            high = middle
    return (low * high) ** 0.5


def _spherical_means(vectors: Tensor, centres: Tensor) -> Tensor:
    """Return the centres of spherical k-means after `ROUNDS` rounds; a centre without vectors stays in place."""
    for _ in range(ROUNDS):
        nearest = (vectors @ centres.T).argmax(dim=-1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        empty = sums.norm(dim=-1) == 0
        centres = torch.where(empty[:, None], centres, normalize(sums, dim=-1))
    return centres


def _means(vectors: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return the unit mean of the vectors of each class, (count, dim)."""
    known = labels >= 0
    sums = torch.zeros(count, vectors.shape[1]).index_add_(0, labels[known], vectors[known])
    return normalize(sums, dim=-1)
