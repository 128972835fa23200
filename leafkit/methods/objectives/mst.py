"""MST-Distill: a router picks, for each text, one of several specialised teachers made by masking the teacher.

Paper: https://arxiv.org/abs/2507.07015

    specialised teacher m: p_m = softmax(z(sigmoid(gate_m(t)) * t) / T), its mask trained on KL(student || p_m)
    routed  = T^2 mean over the k likeliest m of KL(p_m || q)
    balance = KL(uniform || batch mean of the router's softmax) / M, over all M specialised teachers
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from leafkit.methods.anchors import check_anchors, fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Objective
from leafkit.methods.setting import Facts, Gather, Setting

logger = logging.getLogger("leafkit")
Routing = Literal["hard", "straight", "soft"]

# Rank of the gates, and the learning rate that trains them.
RANK, RATE = 32, 1e-3

# The smallest valid value of each field.
LEAST = {"masks": 1, "sample": 0, "temperature": 0.01, "balance": 0, "count": 2}


@dataclass(frozen=True, kw_only=True)
class Mst(Objective):
    """Imitate the anchor distributions of the specialised teachers that the router picks, and keep the router balanced.

    Each teacher is compared with its own vectors of the same anchor texts, so teachers may have different widths. The
    vectors of other teachers are stored by row, so ``others`` excludes feeds that mix texts. As in the paper, the term
    ``routed`` is halved after epochs 0, 30, ... and ``balance`` is multiplied by 0.9 after epochs 0, 10, ...

    ``weight``: multiplies both terms (ours 0.1, added to LEAF; paper: 1).
    ``others``: names of further teachers, separated by ``;`` (paper: one of another modality; ours none).
    ``masks``: number of specialised teachers made from each teacher (paper: 2, at two layers; ours differ only in
    their random start).
    ``sample``: largest number of texts that train the masks, in one pass; 0 leaves the masks at their random start
    (ours 10,000; paper: one epoch).
    ``temperature``: T, in addition to each teacher's own temperature (paper: 4).
    ``chosen``: k, the number of teachers picked for each text (paper: 1); unused with ``routing=soft``.
    ``routing``: ``hard`` takes the plain mean of the picked teachers, so only ``balance`` trains the router (paper).
    ``straight`` has the same values, with the gradient of the router's weights. ``soft`` imitates one distribution,
    made from the weighted logits of all teachers.
    ``balance``: factor of the term ``balance`` (paper: 1).
    ``count``: number of anchor texts (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2507.07015"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feature")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "LEAF replaces cross-entropy, and cosines with anchors replace logits; the first stage is left out, because "
        "teachers are frozen; masks are low-rank gates on the teacher's vector, trained towards the student at its "
        "start with our learning rate; the router reads probabilities, not raw logits"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8}

    weight: float = 0.1
    others: str = ""
    masks: int = 2
    sample: int = 10_000
    temperature: float = 4.0
    chosen: int = 1
    routing: Routing = "hard"
    balance: float = 1.0
    count: int = 64

    def __post_init__(self) -> None:
        names, most = self.other_teachers, self.masks * (1 + len(self.other_teachers))
        checks = {name: (least <= getattr(self, name) < math.inf, f"{least} or more") for name, least in LEAST.items()}
        checks["others"] = (all(names) and len(set(names)) == len(names), "different names, separated by ';'")
        checks["chosen"] = (1 <= self.chosen <= most, f"1 to {most}, the number of specialised teachers")
        checks["routing"] = (self.routing in get_args(Routing), ", ".join(get_args(Routing)))
        self.check_fields(checks)

    @property
    def remembers_texts(self) -> bool:
        """Whether the vectors of other teachers are stored by row."""
        return bool(self.others)

    @property
    def other_teachers(self) -> list[str]:
        """The names in the field ``others``."""
        return [name.strip() for name in self.others.split(";")] if self.others else []

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, "texts", self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``teachers`` with trained, frozen masks (the training's own teacher first) and the ``router``."""
        state: Any = nn.Module()
        state.epoch_steps = setting.epoch_steps
        gathers = [setting.targets, *map(setting.other_teacher, self.other_teachers)]
        teachers = [SpecialisedTeachers(setting, gather, self) for gather in gathers]
        state.teachers = nn.ModuleList(teachers)
        if self.sample:
            rows = setting.sample(self.sample)
            student = teachers[0].anchors.logits(torch.from_numpy(setting.student(rows)))
            for teacher, gather in zip(teachers, gathers, strict=True):
                train_masks(teacher, torch.from_numpy(gather(rows)), student, self.temperature, setting.batch_size)
        hidden = 2 * self.count
        state.router = nn.Sequential(nn.Linear(self.count, hidden), nn.Linear(hidden, self.masks * len(gathers)))
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return ``routed`` and ``balance`` of each text, (rows,); ``balance`` is the same for all texts of a batch."""
        student = state.teachers[0].anchors.logits(batch.student)
        gate = state.router(student.softmax(dim=-1).to(state.router[0].weight.dtype)).softmax(dim=-1)
        vectors = [batch.teacher, *(teacher.vectors[batch.rows] for teacher in state.teachers[1:])]
        logits = torch.cat([teacher(own) for teacher, own in zip(state.teachers, vectors, strict=True)]).detach()
        shares = gate.mean(dim=0).clamp(min=1e-8)  # The logarithm stays finite for a teacher that is never picked.
        balance = -self.balance * (len(shares) * shares).log().mean() / len(shares)
        factors = [fade ** math.ceil(batch.step // state.epoch_steps / every) for fade, every in ((0.5, 30), (0.9, 10))]
        return {
            "routed": factors[0] * self.routed(logits, student, gate),
            "balance": factors[1] * balance.expand(len(gate)),
        }

    def routed(self, teachers: Tensor, student: Tensor, gate: Tensor) -> Tensor:
        """Return the divergence of each text from its picked teachers, (rows,).

        ``teachers`` are logits (M, rows, count), ``student`` logits (rows, count), ``gate`` the router's probabilities
        (rows, M).
        """
        if self.routing == "soft":
            return kl_of_logits((gate.T[..., None] * teachers).sum(dim=0), student, self.temperature)
        weights = one_hot(gate.topk(self.chosen, dim=-1).indices, gate.shape[-1]).sum(dim=1) / self.chosen
        weights = weights if self.routing == "hard" else weights + gate - gate.detach()
        return (weights * kl_of_logits(teachers, student, self.temperature).T).sum(dim=-1)


class SpecialisedTeachers(nn.Module):
    """The specialised teachers made from one teacher.

    For a teacher other than the training's own, ``vectors`` stores the vectors of all training texts.
    """

    vectors: Tensor

    def __init__(self, setting: Setting, gather: Gather, options: Mst) -> None:
        super().__init__()
        # The choice of anchors depends on the seed alone, so all teachers have the same anchor texts.
        self.anchors = fit_anchors(replace(setting, targets=gather), "texts", options.count)
        dim = self.anchors.centres.shape[1]
        if gather is not setting.targets:
            stored = normalize(torch.from_numpy(gather(torch.arange(setting.texts).numpy())), dim=-1)
            self.register_buffer("vectors", stored.half())
        gates = (nn.Sequential(nn.Linear(dim, RANK), nn.GELU(), nn.Linear(RANK, dim)) for _ in range(options.masks))
        self.gates = nn.ModuleList(gates).requires_grad_(False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the logits of ``vectors`` (rows, dim) by each specialised teacher, (masks, rows, count)."""
        unit = normalize(vectors.to(next(self.gates.parameters()).dtype), dim=-1)
        return torch.stack([self.anchors.logits(torch.sigmoid(gate(unit)) * unit) for gate in self.gates])


def train_masks(
    teacher: SpecialisedTeachers, vectors: Tensor, student: Tensor, temperature: float, batch_size: int
) -> None:
    """Train the masks towards the ``student``'s logits in one pass; more passes would only copy the student."""
    optimiser = torch.optim.Adam(teacher.gates.requires_grad_(True).parameters(), lr=RATE)
    for rows in torch.randperm(len(vectors)).split(batch_size):
        kl_of_logits(student[rows], teacher(vectors[rows]), temperature).mean(dim=-1).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    teacher.gates.requires_grad_(False)
    distances = kl_of_logits(teacher(vectors), teacher.anchors.logits(vectors), temperature).mean(dim=-1)
    logger.info("mst: KL divergence of the masked teachers from the unmasked teacher: %s", distances.tolist())
