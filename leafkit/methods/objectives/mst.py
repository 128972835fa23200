"""MST-Distill: specialised teachers, each a masked one, among which a router picks for every text.

Paper: https://arxiv.org/abs/2507.07015

    specialised teacher m: p_m = softmax(z(sigmoid(gate_m(t)) * t) / T), its mask trained on KL(student || p_m)
    routed  = T^2 mean over the k likeliest m of KL(p_m || q)
    balance = KL(uniform || batch mean of the router's softmax) / M, over all M specialised teachers
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from leafkit.methods.anchors import fit_anchors
from leafkit.methods.batch import Batch
from leafkit.methods.method import Objective
from leafkit.methods.setting import Gather, Setting

logger = logging.getLogger(__name__)
Routing = Literal["hard", "straight", "soft"]
RANK, RATE = 32, 1e-3
LEAST = {"masks": 1, "sample": 0, "temperature": 0.01, "balance": 0, "count": 2}


@dataclass(frozen=True, kw_only=True)
class Mst(Objective):
    """Anchor distributions of the routed specialised teachers are imitated, and the router is kept balanced.

    Each teacher is compared with its own vectors of the same anchor texts, so widths may differ; others do not follow
    mixed texts. After epochs 0, 30, .. ``routed`` is halved, after 0, 10, .. ``balance`` loses a tenth (paper).

    ``weight``: multiplies both terms (paper: 1; ours 0.1 as an addition to LEAF).
    ``others``: names of further teachers, separated by ``;`` (paper: one of another modality; ours none).
    ``masks``: specialised teachers made of each teacher (paper: 2, at two layers; ours differ in their draw alone).
    ``sample``: most texts that train the masks, once each; 0 leaves them as drawn (ours 10,000; paper: one epoch).
    ``temperature``, ``chosen``: T on top of each teacher's own (paper: 4), and k unless ``soft`` (paper: 1).
    ``routing``: ``hard`` takes their plain mean, so that only ``balance`` moves the router (paper); ``straight`` has
    the same values with the gradient of the router's weights; ``soft`` is one distribution of the weighted logits.
    ``balance``, ``count``: what multiplies the term ``balance`` (paper: 1), and how many anchor texts there are (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2507.07015"
    reconstruction: ClassVar[str] = (
        "LEAF for cross-entropy, cosines with anchors for logits; no first stage, as teachers are frozen; masks are "
        "low-rank gates on the teacher's vector, trained towards the student at its start, at a rate of ours"
    )

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
        names, most = self._names, self.masks * (1 + len(self._names))
        wanted = {name: (least <= getattr(self, name) < math.inf, f"{least} or more") for name, least in LEAST.items()}
        wanted["others"] = (all(names) and len(set(names)) == len(names), "different names between ';'")
        wanted["chosen"] = (1 <= self.chosen <= most, f"1 to {most} specialised teachers")
        wanted["routing"] = (self.routing in get_args(Routing), ", ".join(get_args(Routing)))
        self.check_fields(wanted)

    @property
    def remembers_texts(self) -> bool:
        """Whether other teachers' vectors are looked up by row."""
        return bool(self.others)

    @property
    def _names(self) -> list[str]:
        return [name.strip() for name in self.others.split(";")] if self.others else []

    def build(self, setting: Setting) -> nn.Module:
        """``teachers``, the training's own first, with masks trained and frozen, and the ``router``."""
        state: Any = nn.Module()
        state.epoch_steps = setting.epoch_steps
        gathers = [setting.targets, *map(setting.other_teacher, self._names)]
        state.teachers = nn.ModuleList(Specialists(setting, gather, self) for gather in gathers)
        if self.sample:
            rows = setting.sample(self.sample)
            student = state.teachers[0].anchors.logits(torch.from_numpy(setting.student(rows)))
            for teacher, gather in zip(state.teachers, gathers, strict=True):
                train_masks(teacher, torch.from_numpy(gather(rows)), student, self.temperature, setting.batch_size)
        hidden = 2 * self.count
        state.router = nn.Sequential(nn.Linear(self.count, hidden), nn.Linear(hidden, self.masks * len(gathers)))
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """``routed`` and ``balance`` of each text, (rows,); the latter is the batch's and the same for all."""
        student = state.teachers[0].anchors.logits(batch.student)
        gate = state.router(student.softmax(dim=-1).to(state.router[0].weight.dtype)).softmax(dim=-1)
        vectors = [batch.teacher, *(teacher.vectors[batch.rows] for teacher in state.teachers[1:])]
        logits = torch.cat([teacher(own) for teacher, own in zip(state.teachers, vectors, strict=True)]).detach()
        shares = gate.mean(dim=0).clamp(min=1e-8)  # finite where a teacher gets nothing
        balance = -self.balance * (len(shares) * shares).log().mean() / len(shares)
        kept = [fade ** math.ceil(batch.step // state.epoch_steps / every) for fade, every in ((0.5, 30), (0.9, 10))]
        return {"routed": kept[0] * self.routed(logits, student, gate), "balance": kept[1] * balance.expand(len(gate))}

    def routed(self, teachers: Tensor, student: Tensor, gate: Tensor) -> Tensor:
        """The divergence of each text, (rows,), of logits (M, rows, count) and (rows, count) by ``gate`` (rows, M)."""
        if self.routing == "soft":
            return divergence((gate.T[..., None] * teachers).sum(dim=0), student, self.temperature)
        weights = one_hot(gate.topk(self.chosen, dim=-1).indices, gate.shape[-1]).sum(dim=1) / self.chosen
        weights = weights if self.routing == "hard" else weights + gate - gate.detach()
        return (weights * divergence(teachers, student, self.temperature).T).sum(dim=-1)


class Specialists(nn.Module):
    """The specialised teachers of one teacher, with its ``vectors`` of all training texts if no batch brings them."""

    def __init__(self, setting: Setting, gather: Gather, system: Mst) -> None:
        super().__init__()
        # The draw of anchors depends on the seed alone, so that all teachers have the same texts.
        self.anchors = fit_anchors(replace(setting, targets=gather), "texts", system.count)
        dim = self.anchors.centres.shape[1]
        if gather is not setting.targets:
            stored = normalize(torch.from_numpy(gather(torch.arange(setting.texts).numpy())), dim=-1)
            self.register_buffer("vectors", stored.half())
        gates = (nn.Sequential(nn.Linear(dim, RANK), nn.GELU(), nn.Linear(RANK, dim)) for _ in range(system.masks))
        self.gates = nn.ModuleList(gates).requires_grad_(False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits of ``vectors`` (rows, dim) by each specialised teacher, (masks, rows, count)."""
        whole: Any = normalize(vectors.to(self.gates[0][0].weight.dtype), dim=-1)
        return torch.stack([self.anchors.logits(torch.sigmoid(gate(whole)) * whole) for gate in self.gates])


def train_masks(teacher: Any, vectors: Tensor, student: Tensor, temperature: float, batch_size: int) -> None:
    """Move the masks towards the ``student``'s logits in one pass: trained to the end they would only copy it."""
    optimiser = torch.optim.Adam(teacher.gates.requires_grad_(True).parameters(), lr=RATE)
    for rows in torch.randperm(len(vectors)).split(batch_size):
        divergence(student[rows], teacher(vectors[rows]), temperature).mean(dim=-1).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    teacher.gates.requires_grad_(False)
    own = divergence(teacher(vectors), teacher.anchors.logits(vectors), temperature).mean(dim=-1)
    logger.info("masked teachers diverge from the whole one by %s", own.tolist())


def divergence(target: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(target || logits) of the softmax at ``temperature``, along the last dimension."""
    wanted, got = (target / temperature).log_softmax(dim=-1), (logits / temperature).log_softmax(dim=-1)
    return temperature**2 * (wanted.exp() * (wanted - got)).sum(dim=-1)
