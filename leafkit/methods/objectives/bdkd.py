"""BD-KD: divergences in both directions, weighed for each text by who is more certain, while the teacher learns too.

Paper: https://arxiv.org/abs/2212.12965

    p = softmax(z_T / T), q = softmax(z_S / T);    gap g = H(q) - H(p)
    student = CE(y, z_S) + T^2 (d_f KL(p || q) + d_r KL(q || p)), no gradient to p
    g > 0: d_r = nu, d_f = 1;    g < 0: d_f = nu, d_r = 1;    smooth: d_r = 2 sigmoid(k g), d_f = 2 sigmoid(-k g)
    teacher = CE(y, z_T) + lam T^2 KL(p || q) + anchor |peer - t|^2, no gradient to q
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from leafkit.methods.anchors import AnchorKind, Anchors, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Setting

Gate = Literal["hard", "smooth", "off"]
Sign = Literal["paper", "flipped"]
Directions = Literal["both", "forward", "reverse"]


@dataclass(frozen=True, kw_only=True)
class Bdkd(Objective):
    """Train student and teacher together on each other's anchor distributions, in both directions of the KL divergence.

    A student that is less certain than the teacher gets more of the reverse KL, which sharpens it. A student that is
    more certain gets more of the forward KL, which spreads it. The teacher that learns is a linear adapter with a
    temperature on the teacher's vectors, or a second student. It is trained beside the student and not exported; the
    student's LEAF target stays the teacher's own vector.

    ``weight``: multiplies all terms (ours 0.1, added to LEAF).
    ``peer``: the teacher that learns. Empty for the adapter, or the name of a student, such as ``teacher:layers=6``
    (paper: a larger network).
    ``mutual``: lam, the factor of the student's influence on the teacher (ours 1). With 0 the teacher does not listen
    to the student: the adapter is left out (offline distillation), and a ``peer`` learns from the task alone.
    ``gate``: ``hard`` switches by the sign of the entropy gap, ``smooth`` weighs by its size, ``off`` weighs both
    directions by 1.
    ``sign``: ``paper`` as above, or ``flipped``, the control that sharpens whoever is certain already.
    ``directions``: ``both`` (paper), or one of them for an ablation; ``forward`` is the usual KL(teacher || student).
    ``nu``: weight of the direction that the hard gate prefers (ours 2).
    ``steepness``: k of the smooth gate, for a gap in nats (ours 1).
    ``temperature``: T, which divides the logits in addition to the temperature of the anchors (ours 1).
    ``task``: factor of both cross-entropies with the class (paper: 1).
    ``anchor``: factor of the squared distance that keeps the learning teacher near the teacher's vectors (ours 0.1).
    ``anchors``: kind of the anchors that replace classes (ours).
    ``count``: number of anchors; ignored with ``anchors=labels`` (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2212.12965"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("supervised fine-tuning", "divergence and similarity")
    skills: ClassVar[tuple[str, ...]] = ("understanding",)
    small: ClassVar[Mapping[str, Any]] = {"count": 8}
    reconstruction: ClassVar[str] = (
        "the loss is reconstructed from the abstract and a summary: that both divergences are weighed for each text by "
        "the entropy gap, and that the teacher learns with a reverse KL, is confirmed; which sign goes with which "
        "direction, nu, lam, T and a hard or smooth gate are not, so they are fields; LEAF is added; anchors replace "
        "classes, and a text without a label has the class of the anchor nearest to its teacher vector; by default "
        "only an adapter on the teacher's vectors learns, not the teacher's network"
    )

    weight: float = 0.1
    peer: str = ""
    mutual: float = 1.0
    gate: Gate = "hard"
    sign: Sign = "paper"
    directions: Directions = "both"
    nu: float = 2.0
    steepness: float = 1.0
    temperature: float = 1.0
    task: float = 1.0
    anchor: float = 0.1
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        kinds = {"gate": get_args(Gate), "sign": get_args(Sign), "directions": get_args(Directions)}
        checks = {name: (getattr(self, name) in allowed, ", ".join(allowed)) for name, allowed in kinds.items()}
        for name in ("mutual", "steepness", "task", "anchor"):
            checks[name] = (0 <= getattr(self, name) < math.inf, "0 or more")
        checks["nu"] = (1 <= self.nu < math.inf, "1 or more")
        checks["temperature"] = (0 < self.temperature < math.inf, "more than 0")
        self.check_fields(checks | check_anchor_fields(self.anchors, self.count))

    @property
    def needs(self) -> frozenset[str]:
        """The labels for ``anchors=labels``, and a teacher with layers for a peer that is made of them."""
        return anchor_needs(self.anchors) | ({"model"} if self.peer.startswith("teacher") else set())

    @property
    def peers(self) -> tuple[str, ...]:
        """The field ``peer``, unless it is empty."""
        return (self.peer,) if self.peer else ()

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``anchors`` and the teacher that learns, `Adapter` or peer student; None if it does not learn."""
        state: Any = nn.Module()
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        state.peer = setting.open(self.peer) if self.peer else None
        state.adapter = Adapter(setting.dim) if self.mutual and not self.peer else None
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses of each text, (rows,).

        ``class`` and ``balanced`` train the student, ``peer`` and ``drift`` the teacher that learns, if there is one.
        """
        anchors: Anchors = state.anchors
        classes = anchors.classes(batch.teacher, batch.labels)
        student = anchors.logits(batch.student)
        vectors, scale = self._teacher(batch, state)
        teacher = anchors.logits(vectors) * scale
        terms = {
            "class": self.task * cross_entropy(student, classes, reduction="none"),
            "balanced": self.balanced(student, teacher.detach()),
        }
        if state.peer is not None or state.adapter is not None:
            listening = kl_of_logits(teacher, student.detach(), self.temperature)
            terms["peer"] = self.task * cross_entropy(teacher, classes, reduction="none") + self.mutual * listening
            terms["drift"] = self.anchor * (vectors - batch.teacher.detach()).square().sum(dim=-1)
        return terms

    def balanced(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return both divergences, weighed by the entropy gap, for logits (rows, count); shape (rows,)."""
        forward_weight, reverse_weight = self.weights(entropy_gap(student, teacher, self.temperature))
        forward = forward_weight * kl_of_logits(teacher, student, self.temperature)
        reverse = reverse_weight * kl_of_logits(student, teacher, self.temperature)
        chosen = {"both": forward + reverse, "forward": forward, "reverse": reverse}
        return chosen[self.directions]

    def weights(self, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Return d_f and d_r, the weights of the forward and the reverse KL, for entropy gaps of shape (rows,)."""
        gap = gap if self.sign == "paper" else -gap
        if self.gate == "smooth":
            return 2 * torch.sigmoid(-self.steepness * gap), 2 * torch.sigmoid(self.steepness * gap)
        preferred = self.nu if self.gate == "hard" else 1.0
        one = torch.ones_like(gap)
        return one.masked_fill(gap < 0, preferred), one.masked_fill(gap > 0, preferred)

    def _teacher(self, batch: Batch, state: Any) -> tuple[Tensor, Tensor | float]:
        """Return the vectors of the teacher that learns, (rows, dim), and the factor of its logits."""
        if state.peer is not None:
            return state.peer(dict(batch.features)).student, 1.0
        vectors = batch.teacher.detach()
        return (vectors, 1.0) if state.adapter is None else state.adapter(vectors)


class Adapter(nn.Module):
    """A trainable change of the teacher's vectors and a trainable factor of its logits; both start at no change."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        # The identity is not a parameter, so that weight decay pulls towards the teacher's vectors and not to zero.
        self.change = nn.Linear(dim, dim)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the changed vectors, (rows, dim), and the factor of the logits (the inverse of a temperature)."""
        vectors = vectors.to(self.change.weight.dtype)
        return vectors + self.change(vectors), self.log_scale.exp()


def entropy_gap(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return H(q) - H(p) in nats, (rows,), at the temperature of the divergences; no gradient."""
    logs = [(logits.detach() / temperature).log_softmax(dim=-1) for logits in (student, teacher)]
    entropies = [-(log.exp() * log).sum(dim=-1) for log in logs]
    return entropies[0] - entropies[1]
