"""DHO: one head learns the few labels, another the teacher, and the shipped head mixes both.

Paper: https://arxiv.org/abs/2505.07675

    loss = share CE(y, h_CE(z)) on labelled texts + (1 - share) T^2 KL(p_T || q_KD) on all texts, both heads on one z
    paper's prediction: a softmax(h_CE) + (1 - a) softmax(h_KD / b)
    shipped head: a h_CE + (1 - a) h_KD, whose score with a document d is a <h_CE, d> + (1 - a) <h_KD, d>
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from leafkit.errors import OptionError
from leafkit.methods.anchors import Anchors, fit_anchors
from leafkit.methods.closed_form import SAMPLE, start_linear
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Objective
from leafkit.students.head import Linear

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting
    from leafkit.types import Float32, Int64

logger = logging.getLogger("leafkit")
Heads = Literal["two", "one"]

# The shares of the second head that are tried at the end.
MIXES = tuple(step / 20 for step in range(21))


@dataclass(frozen=True, kw_only=True)
class Dho(Objective):
    """Train a second head on the few labelled texts while the student's own head imitates the teacher on all texts.

    The classes are compared through their mean teacher vectors. Both heads write vectors in the teacher's space, and
    both start at the same closed-form solution, with a bias if the student's head has one. At the end, the share of the
    second head is the one with which most reserved labelled texts are classified correctly; the mix of two linear heads
    is one linear head, which replaces the student's own.

    ``weight``: multiplies both terms (ours 0.1, added to LEAF; paper: 1).
    ``share``: lam, the share of the cross-entropy; the KL divergence has the rest (paper: 0.5).
    ``temperature``: T, which divides the logits of the KL divergence in addition to the temperature of the classes
    (paper: 2).
    ``heads``: ``two``, or ``one`` for the control that trains the student's own head with both losses and reserves
    nothing.
    ``reserved``: share of the labelled texts of each class, rounded down, that choose the mix instead of being trained
    on; a class with fewer than 1 / ``reserved`` labelled texts has none to spare (ours 0.1; paper: further texts).
    ``mix``: a, the share of the second head in the shipped head if no text is reserved (paper: 0.5 with thousands of
    labels).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2505.07675"
    elicits: ClassVar[tuple[str, ...]] = ("labeling",)
    learns_by: ClassVar[tuple[str, ...]] = ("supervised fine-tuning", "divergence and similarity")
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    reconstruction: ClassVar[str] = (
        "mean teacher vectors of the labelled texts replace the vectors of class names; the heads mix their scores and "
        "not their probabilities, so that one linear head can be shipped, and b, which would only change the ratio of "
        "the scores, is left out; the second head writes a vector whose scores with the class vectors are the logits; "
        "labelled texts are drawn as often as others, and their cross-entropy is multiplied by texts / labelled texts "
        "instead; LEAF is added to the student's own head"
    )

    weight: float = 0.1
    share: float = 0.5
    temperature: float = 2.0
    heads: Heads = "two"
    reserved: float = 0.1
    mix: float = 0.5

    def __post_init__(self) -> None:
        checks = {
            "share": (0 <= self.share <= 1, "0 to 1"),
            "temperature": (0 < self.temperature < math.inf, "more than 0"),
            "heads": (self.heads in get_args(Heads), " or ".join(get_args(Heads))),
            "reserved": (0 <= self.reserved < 1, "0 or more and less than 1"),
            "mix": (0 <= self.mix <= 1, "0 to 1"),
        }
        self.check_fields(checks)

    @property
    def needs(self) -> frozenset[str]:
        """The labels of some texts."""
        return frozenset({"labels"})

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` unless there are labelled texts of two classes."""
        classes = len(numpy.unique(facts.labels[facts.labels >= 0]))
        if classes < 2:
            raise OptionError(f"dho needs labelled texts of at least two classes, but got {classes}. Label more texts.")

    def reserve(self, facts: Facts) -> Int64:
        """Return a share of the labelled rows of each class, drawn from the seed; none for one head or weight 0."""
        if self.heads == "one" or self.weight == 0:
            return numpy.zeros(0, dtype=numpy.int64)
        rows = numpy.random.default_rng([facts.seed, 8]).permutation(facts.texts)
        chosen = [own[: int(self.reserved * len(own))] for own in _by_class(rows, facts.labels)]
        return numpy.sort(numpy.concatenate(chosen)).astype(numpy.int64)

    def build(self, setting: Setting) -> nn.Module:
        """Return `TwoHeads`, without the second head for ``heads=one``."""
        rows = numpy.setdiff1d(numpy.flatnonzero(setting.labels >= 0), setting.reserved)
        state = TwoHeads(fit_anchors(setting.restricted(rows), "labels", 0), factor=setting.texts / len(rows))
        if self.heads == "two":
            held = setting.reserved[setting.labels[setting.reserved] >= 0]
            state.hidden_of_reserved = lambda: (setting.hidden(held), setting.labels[held])
            state.head = nn.Linear(setting.width, setting.dim, bias=setting.head_bias)
            start = setting.sample(SAMPLE)
            inputs, targets = (torch.from_numpy(of_rows(start)) for of_rows in (setting.hidden, setting.targets))
            start_linear(state.head, inputs, targets, seed=setting.seed)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses of each text, (rows,): ``class`` (0 for a text without a label) and ``kd``."""
        labelled = batch.labels >= 0
        losses = cross_entropy(state.class_logits(batch), batch.labels.clamp(min=0), reduction="none")
        teacher, student = (state.anchors.logits(side) for side in (batch.teacher.detach(), batch.student))
        return {
            "class": self.share * state.factor * torch.where(labelled, losses, 0.0),
            "kd": (1 - self.share) * kl_of_logits(teacher, student, self.temperature),
        }

    def finish(self, state: Any, head: Linear) -> Linear:
        """Return the mix of both heads, (dim, width) and (dim,); ``head`` itself for one head or weight 0."""
        if self.heads == "one" or self.weight == 0:
            return head
        # Where the student's head has no bias, the second head has none either, and ``head`` shows a bias of 0.
        bias = head.bias if state.head.bias is None else _array(state.head.bias)
        second = replace(head, weight=_array(state.head.weight), bias=bias)
        hidden, labels = state.hidden_of_reserved()
        mix = self.mix
        if len(labels):
            centres = state.anchors.centres.cpu().numpy()
            mix = choose_mix(second.apply(hidden) @ centres.T, head.apply(hidden) @ centres.T, labels)
        logger.info("dho: the shipped head is %.2f of the head of the labels", mix)
        return mixed(second, head, mix)


class TwoHeads(nn.Module):
    """The classes' ``anchors`` and the second ``head``, from the input of the student's head to the teacher's space.

    ``factor`` is texts / labelled texts. ``hidden_of_reserved`` returns the inputs of the head for the reserved
    labelled texts, (rows, width), and their labels; it reads the student as it is now.
    """

    factor: Tensor
    head: nn.Linear | None
    hidden_of_reserved: Callable[[], tuple[Float32, Int64]]

    def __init__(self, anchors: Anchors, factor: float) -> None:
        super().__init__()
        self.anchors = anchors
        self.head = None
        self.register_buffer("factor", torch.tensor(factor))

    def class_logits(self, batch: Batch) -> Tensor:
        """Return the logits of the head that learns the labels, (rows, classes): plain scores, not cosines."""
        vectors = batch.raw.float()
        if self.head is not None:
            vectors = self.head(batch.hidden.to(self.head.weight.dtype))
        return vectors @ self.anchors.centres.T / self.anchors.temperature


def mixed(second: Linear, head: Linear, mix: float) -> Linear:
    """Return ``mix`` times ``second`` plus the rest times ``head``; their scores with any document mix the same way."""
    weight, bias = (
        (mix * one + (1 - mix) * other).astype(numpy.float32)
        for one, other in ((second.weight, head.weight), (second.bias, head.bias))
    )
    return replace(head, weight=weight, bias=bias)


def choose_mix(second: Float32, first: Float32, labels: Int64) -> float:
    """Return the share of the scores ``second`` in the mix that classifies most of the rows correctly.

    ``second`` and ``first`` are (rows, classes). Of equally good shares the middle one is taken, which lies farthest
    from those that do worse.
    """
    right = [int(((mix * second + (1 - mix) * first).argmax(axis=1) == labels).sum()) for mix in MIXES]
    best = [mix for mix, count in zip(MIXES, right, strict=True) if count == max(right)]
    return best[len(best) // 2]


def _by_class(rows: Int64, labels: Int64) -> list[Int64]:
    """Return the labelled ``rows`` of each class, in the given order."""
    return [rows[labels[rows] == label] for label in numpy.unique(labels[labels >= 0])]


def _array(tensor: Tensor) -> Float32:
    return tensor.detach().float().cpu().numpy()
