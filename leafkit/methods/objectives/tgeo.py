"""TGeo-KD: each text has its own ratio between the teacher and the truth, learned from the triangle of the three.

Paper: https://arxiv.org/abs/2312.15112

    loss_i  = alpha_i kd_i + (1 - alpha_i) truth_i,    alpha_i = 0.05 + 0.9 sigmoid(f_w(delta_i))
    delta_i = the squared edges between student S, teacher T, truth G and the typical teacher vector T' of G, and the
              probabilities that student and teacher give to the truth
    w       minimises the truth loss of reserved texts after one step of the student's head:
              raw'_j = raw_j - eta sum_i (h_i . h_j + 1) d loss_i / d raw_i / |G|,    with raw = W h + b and the
              gradient G of the loss in W and b
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, normalize

from leafkit.errors import OptionError
from leafkit.methods.anchors import Anchors, fit_anchors
from leafkit.methods.candidates import (
    CHUNK,
    Candidates,
    Choices,
    check_lists,
    check_reserved,
    choices,
    draw_reserved,
    fit_candidates,
    gold_cross_entropy,
    own_reserved,
    rows_with_gold,
    unit_targets,
)
from leafkit.methods.method import Objective
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.objectives.ofa import weighted_cross_entropy

if TYPE_CHECKING:
    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting
    from leafkit.types import Int64

Truth = Literal["labels", "pairs"]
Imitation = Literal["leaf", "kl"]

# Figures of a triangle, and the units of the layers of the network that turns them into a ratio.
FIGURES, UNITS = 8, (32, 16, 1)
# The smallest ratio; 1 less it is the largest.
LOWEST = 0.05
# The weight decay of the network, as in a third-party implementation.
DECAY = 0.05


@dataclass(frozen=True, kw_only=True)
class Tgeo(Objective):
    """Fuse the loss of the teacher and that of the truth, with a ratio for each text that a small network learns.

    The truth is the class of a text or the documents that answer a query. A text without either has the loss of the
    teacher. The method is meant to stand alone (``--method tgeo:weight=1``), because LEAF beside it would pull every
    text to the teacher as strongly.

    ``weight``: multiplies the loss (paper: 1).
    ``truth``: ``labels`` (the loss is the cross-entropy of the class) or ``pairs`` (that of the documents that answer,
    in the query's list).
    ``imitation``: the loss of the teacher: ``leaf`` (distance of vectors, ours) or ``kl`` (cross-entropy with the
    teacher's probabilities, as in the paper).
    ``learn``: if false, every ratio is ``alpha`` and no text is reserved.
    ``alpha``: the ratio at the start, more than 0.05 and less than 0.95 if it is learned, else 0 to 1.
    ``validation``: number of texts with a class or document that are reserved for the outer loss.
    ``every``: number of steps between two steps of the network; ``draws``: number of texts, and of reserved texts,
    that each of these steps draws (ours; the paper's schedule is not known).
    ``rate``: learning rate of the network, with AdamW (ours 0.02; a third-party implementation has 0.1).
    ``ahead``: length of the step of the head that the network looks ahead: about the share of their length by which
    the student's vectors move (ours).
    ``count``: length of a list; ignored with ``truth=labels`` (ours). ``clusters``: number of groups of documents, each
    of which has one typical teacher vector; ignored with ``truth=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2312.15112"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("supervised fine-tuning", "divergence and similarity")
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "clusters": 3, "validation": 20, "every": 5, "draws": 8}
    reconstruction: ClassVar[str] = (
        "written from reviews and a third-party implementation, not from the paper: the schedule and split of the two "
        "levels are ours; the network reads eight scalars, not the vectors themselves, so that it fits any number of "
        "classes; with pairs, points are unit vectors, the truth is the mean of the documents that answer, and the "
        "typical vector is the mean of the queries whose documents are in the same cluster; only the head of the "
        "student looks ahead, by a gradient step of fixed length"
    )

    weight: float = 1.0
    truth: Truth = "labels"
    imitation: Imitation = "leaf"
    learn: bool = True
    alpha: float = 0.5
    validation: int = 200
    every: int = 10
    draws: int = 128
    rate: float = 0.02
    ahead: float = 0.1
    count: int = 32
    clusters: int = 16

    def __post_init__(self) -> None:
        inside = LOWEST < self.alpha < 1 - LOWEST if self.learn else 0 <= self.alpha <= 1
        sizes = ("validation", "every", "draws")
        self.check_fields(
            {
                "truth": (self.truth in get_args(Truth), "labels or pairs"),
                "imitation": (self.imitation in get_args(Imitation), "leaf or kl"),
                "alpha": (inside, "more than 0.05 and less than 0.95" if self.learn else "0 to 1"),
                **{name: (getattr(self, name) >= 1, "1 or more") for name in sizes},
                **{name: (0 < getattr(self, name) < float("inf"), "more than 0") for name in ("rate", "ahead")},
                **{name: (getattr(self, name) >= 2, "2 or more") for name in ("count", "clusters")},
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The labels or pairs that ``truth`` names."""
        return frozenset({self.truth})

    @property
    def refresh_every(self) -> int:
        """The field ``every`` if the ratio is learned, else 0."""
        return self.every if self.learn else 0

    @property
    def _pairs(self) -> bool:
        return self.truth == "pairs"

    @property
    def remembers_texts(self) -> bool:
        """Whether lists are stored by row: with ``truth=pairs``."""
        return self._pairs

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` for lists longer than the documents allow, or too few texts to reserve."""
        if self._pairs:
            check_lists(facts, self.count, "tgeo:count")
        elif facts.classes < 2:
            raise OptionError(
                f"tgeo needs labelled texts of at least two classes, but got {facts.classes}. Label more texts, or use "
                "truth=pairs."
            )
        if self.learn:
            check_reserved(facts, self.validation, "tgeo:validation", pairs=self._pairs)

    def reserve(self, facts: Facts) -> Int64:
        """Return the rows of the outer loss, none if the method is off or the ratio is constant."""
        return draw_reserved(facts, self.validation if self.learn and self.weight else 0, pairs=self._pairs)

    def build(self, setting: Setting) -> nn.Module:
        """Return the `Triangles` of the training texts."""
        return Triangles(setting, self)

    def refresh(self, state: Any, setting: Setting, step: int) -> None:
        """Take one step of the network: look one step of the head ahead, and lower the truth loss of reserved texts."""
        reserved = own_reserved(setting, pairs=self._pairs)
        if not self.learn or not len(reserved):
            return
        draw = numpy.random.default_rng([setting.seed, step, 41])
        known = numpy.setdiff1d(rows_with_gold(setting, pairs=self._pairs), setting.reserved)
        with torch.enable_grad():
            batch, valid = (
                setting.batch(numpy.sort(draw.permutation(rows)[: self.draws])) for rows in (known, reserved)
            )
            weights = state.weights.clone().requires_grad_()
            loss = self.outer_loss(weights, batch, valid, state)
            (gradient,) = torch.autograd.grad(loss, weights)
        state.descend(gradient, self.rate)

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the ``teacher`` and the ``truth`` part of the fused loss of each text, (rows,)."""
        asked = choices(state.items, batch.rows, batch.labels)
        teacher, truth = self.losses(batch, asked)
        with torch.no_grad():
            alpha = self.ratios(batch, state)
        # A text without a truth has the teacher's loss only.
        alpha = torch.where(asked.known, alpha, 1.0)
        return {"teacher": alpha * teacher, "truth": (1 - alpha) * truth}

    def losses(self, batch: Batch, asked: Choices) -> tuple[Tensor, Tensor]:
        """Return the loss of the teacher and that of the truth of each text, both (rows,), before they are fused."""
        logits = asked.logits(batch.student)
        if self.imitation == "leaf":
            teacher = Leaf().terms(batch)["leaf"]
        else:
            probabilities = asked.logits(batch.teacher.detach()).softmax(dim=-1)
            teacher = weighted_cross_entropy(logits, probabilities) * asked.listed
        return teacher, gold_cross_entropy(logits, asked.gold)

    def ratios(self, batch: Batch, state: Any) -> Tensor:
        """Return alpha of each text, (rows,)."""
        if not self.learn:
            return torch.full_like(batch.rows, self.alpha, dtype=torch.float32)
        return ratio(state.weights, state.figures(batch))

    def outer_loss(self, weights: Tensor, batch: Batch, valid: Batch, state: Any) -> Tensor:
        """Return the mean truth loss of ``valid`` after one step of the head on ``batch``, a scalar.

        Differentiable in ``weights``, those of the network. Gradients of the head's weight are products of the gradient
        at its output and of its input, so the step needs only the outputs' gradients and the products of inputs. The
        step has a fixed length, as AdamW's has: otherwise the loss with the longer gradient would always look better.
        """
        asked = choices(state.items, batch.rows, batch.labels)
        gradients = [
            _wide(torch.autograd.grad(loss.sum(), batch.raw, retain_graph=True)[0])
            for loss in self.losses(batch, asked)
        ]
        alpha = ratio(weights, state.figures(batch))[:, None]
        fused = alpha * gradients[0] + (1 - alpha) * gradients[1]
        hidden, others, raw = (_wide(side.detach()) for side in (batch.hidden, valid.hidden, valid.raw))
        step = (others @ hidden.T + 1) @ fused
        length = (fused * ((hidden @ hidden.T + 1) @ fused)).sum().clamp(min=1e-12).sqrt()
        scale = raw.norm(dim=1).mean() / (hidden.square().sum(dim=1).mean() + 1).sqrt()
        raw = raw - self.ahead * scale * step / length
        held_out = choices(state.items, valid.rows, valid.labels)
        return gold_cross_entropy(held_out.logits(raw), held_out.gold).mean()


class Triangles(nn.Module):
    """The points that student and teacher are compared with, and the network of the ratio.

    ``items`` are the classes or lists. ``truth`` and ``typical`` are the points G and T' of each class, (classes,
    classes), or of each list, (lists, dim). ``weights`` are all weights of the network, ``first``, ``second`` and
    ``updates`` the state of AdamW. They are buffers, since the student's optimiser must not train them.
    """

    truth: Tensor
    typical: Tensor
    weights: Tensor
    first: Tensor
    second: Tensor
    updates: Tensor

    def __init__(self, setting: Setting, method: Tgeo) -> None:
        super().__init__()
        trained = numpy.setdiff1d(numpy.arange(setting.texts), setting.reserved)
        if method.truth == "pairs":
            self.items = fit_candidates(setting, method.count)
            truth, typical = _points_of_lists(setting, self.items, trained, method.clusters)
        else:
            own = setting.restricted(trained)
            self.items = fit_anchors(own, "labels", 0)
            truth, typical = _points_of_classes(own, self.items)
        weights = initial_weights(method.alpha)
        buffers = {"truth": truth, "typical": typical, "weights": weights}
        buffers |= {"first": torch.zeros_like(weights), "second": torch.zeros_like(weights)}
        for name, value in (buffers | {"updates": torch.tensor(0)}).items():
            self.register_buffer(name, value)

    def figures(self, batch: Batch) -> Tensor:
        """Return what the network reads of each text, (rows, `FIGURES`), without gradients."""
        asked = choices(self.items, batch.rows, batch.labels)
        sides = [_wide(vectors.detach()) for vectors in (batch.student, batch.teacher)]
        chances = [asked.logits(vectors).softmax(dim=-1) for vectors in sides]
        if isinstance(self.items, Candidates):
            points, place = [normalize(vectors, dim=-1) for vectors in sides], self.items.lines(batch.rows)[0]
        else:
            points, place = chances, batch.labels.clamp(min=0)
        student, teacher = points
        truth, typical = self.truth[place], self.typical[place]
        edges = ((student, teacher), (teacher, truth), (student, truth))
        more = ((student, typical), (typical, truth), (teacher, typical))
        squares = [(one - other).square().sum(dim=-1) for one, other in (*edges, *more)]
        return torch.stack([*squares, *((chance * asked.gold).sum(dim=-1) for chance in chances)], dim=1)

    @torch.no_grad()
    def descend(self, gradient: Tensor, rate: float) -> None:
        """Take one step of AdamW on the weights of the network."""
        self.updates += 1
        self.weights *= 1 - rate * DECAY
        self.first.lerp_(gradient, 0.1)
        self.second.lerp_(gradient.square(), 0.001)
        mean, square = (
            moment / (1 - decay**self.updates) for moment, decay in ((self.first, 0.9), (self.second, 0.999))
        )
        self.weights -= rate * mean / (square.sqrt() + 1e-8)


def initial_weights(alpha: float) -> Tensor:
    """Return random weights of a network whose ratio is ``alpha`` for every text, a vector."""
    parts = []
    for inputs, outputs in zip((FIGURES, *UNITS), UNITS, strict=False):
        bound = inputs**-0.5 if outputs > 1 else 0.0
        parts += [torch.empty(outputs * inputs).uniform_(-bound, bound), torch.zeros(outputs)]
    share = torch.tensor((alpha - LOWEST) / (1 - 2 * LOWEST)).clamp(0.01, 0.99)
    parts[-1] += torch.logit(share)
    return torch.cat(parts)


def ratio(weights: Tensor, figures: Tensor) -> Tensor:
    """Return alpha, (rows,), of the ``figures`` (rows, `FIGURES`) of triangles, by a network with these ``weights``."""
    states, start = figures, 0
    for inputs, outputs in zip((FIGURES, *UNITS), UNITS, strict=False):
        middle, end = start + outputs * inputs, start + outputs * (inputs + 1)
        states = states @ weights[start:middle].view(outputs, inputs).T + weights[middle:end]
        states = leaky_relu(states) if outputs > 1 else states
        start = end
    return LOWEST + (1 - 2 * LOWEST) * torch.sigmoid(states[:, 0])


def _points_of_classes(setting: Setting, anchors: Anchors) -> tuple[Tensor, Tensor]:
    """Return the one-hot vector of each class and the teacher's mean prediction of its texts, (classes, classes)."""
    classes = len(anchors.centres)
    rows = numpy.flatnonzero(setting.labels >= 0)
    labels = torch.from_numpy(setting.labels[rows])
    predictions = anchors.logits(unit_targets(setting, rows)).softmax(dim=-1)
    return torch.eye(classes), _means(predictions, labels, classes)


def _points_of_lists(setting: Setting, items: Candidates, trained: Int64, clusters: int) -> tuple[Tensor, Tensor]:
    """Return the mean document that answers and the typical query of each list, unit vectors (lists, dim).

    Only queries of the rows ``trained`` count as typical.
    """
    parts = zip(items.lists.split(CHUNK), items.gold.split(CHUNK), strict=True)
    truth = torch.cat([(items.documents[lists] * gold[:, :, None]).sum(dim=1) for lists, gold in parts])
    truth = normalize(truth, dim=-1)
    cluster = fit_anchors(setting, "clusters", min(clusters, setting.texts)).logits(truth).argmax(dim=-1)
    rows = numpy.intersect1d(numpy.unique(setting.pairs[:, 0]), trained)
    groups = cluster[items.place[torch.from_numpy(rows)]]
    means = normalize(_means(unit_targets(setting, rows), groups, clusters), dim=-1)
    # A cluster of reserved queries alone has no typical query; the truth takes its place.
    empty = torch.bincount(groups, minlength=clusters)[cluster] == 0
    return truth, torch.where(empty[:, None], truth, means[cluster])


def _means(points: Tensor, groups: Tensor, count: int) -> Tensor:
    """Return the mean of the ``points`` (rows, dim) of each of ``count`` groups, (count, dim)."""
    sums = torch.zeros(count, points.shape[1]).index_add_(0, groups, points)
    return sums / torch.bincount(groups, minlength=count).clamp(min=1)[:, None]


def _wide(values: Tensor) -> Tensor:
    """Return ``values`` as float32, or unchanged if they are float64."""
    return values if values.dtype == torch.float64 else values.float()
