"""HFD and BSD: two unlike students train together, and each teaches the other what it knows better.

Paper: https://arxiv.org/abs/2307.12574

    students A (a transformer) and B (a convolutional network or a token table), both on the LEAF target t
    features (HFD) = 1 - cos(f(low_A), sg[low_B]) for A, with linear maps f of low states; for B the same from A
    region of words r: the error of X is 1 - cos(g_X(r), t(r)); if B's is smaller, A learns 1 - cos(g_A(r), sg[g_B(r)])
    vector: the error is KL(t || p_X) on anchors; if B's is smaller, A learns KL(sg[p_B] || p_A); both rules also for B
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, gelu, normalize

from leafkit.methods.anchors import AnchorKind, anchor_needs, check_anchor_fields, check_anchors, fit_anchors
from leafkit.methods.batch import require_tokens
from leafkit.methods.closed_form import start_linear
from leafkit.methods.divergences import kl_of_logits
from leafkit.methods.method import Objective
from leafkit.vectors.cosine import are_unit

if TYPE_CHECKING:
    from torch import Tensor

    from leafkit.methods.batch import Batch
    from leafkit.methods.setting import Facts, Live, Setting

Selection = Literal["reliable", "random", "both"]
Pair = tuple["Tensor", "Tensor"]

# The texts that the closed-form starts are fitted to, and those of one forward pass.
SAMPLE, CHUNK = 256, 32


@dataclass(frozen=True, kw_only=True)
class Hfd(Objective):
    """Train a second, unlike student beside the student; both imitate each other where the other is the better one.

    The peer reads the teacher's frozen token embeddings through convolutions over neighbouring words. It learns the
    same target and is not exported. The teacher judges who is more reliable; a tie teaches nobody. Special tokens take
    no part. With ``low``, ``region`` and ``row`` at 0 the two train apart.

    ``weight``: multiplies all terms, those of the peer included.
    ``kernel``: words that one convolution of the peer reads, an odd number (ours 5). With 1 it reads every word alone,
    as a token table does.
    ``layers``: convolutions of the peer (ours 2). ``width``: its width (ours 128).
    ``low``: factor of the first layers' features (HFD; ours 0.1). ``region``: factor of the regions (ours 0.1).
    ``row``: factor of the vectors (the paper's pixels; ours 1).
    ``span``: words of a region (ours 4).
    ``selection``: ``reliable``, or the controls ``random``, where a coin says who teaches, and ``both``, where both
    always teach each other (deep mutual learning).
    ``warm``: share of the steps before the two start to teach each other (ours 0, because both start in closed form).
    ``anchors``: kind of the anchors that replace classes. ``count``: number of anchors (ours).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2307.12574"
    elicits: ClassVar[tuple[str, ...]] = ("feature", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "width": 8}
    reconstruction: ClassVar[str] = (
        "the formulas are reconstructed from the abstract, which confirms a convolutional network and a transformer "
        "that imitate each other's low features, and a direction that is chosen for each region and each pixel; all "
        "factors are ours; words replace pixels, spans of words regions, and a text's distribution over anchors the "
        "prediction of a pixel; a teacher, which the paper does not have, replaces labels as judge and as target"
    )

    weight: float = 1.0
    kernel: int = 5
    layers: int = 2
    width: int = 128
    low: float = 0.1
    region: float = 0.1
    row: float = 1.0
    span: int = 4
    selection: Selection = "reliable"
    warm: float = 0.0
    anchors: AnchorKind = "clusters"
    count: int = 64

    def __post_init__(self) -> None:
        checks = {name: (0 <= getattr(self, name) < math.inf, "0 or more") for name in ("low", "region", "row")}
        checks |= {name: (getattr(self, name) >= 1, "1 or more") for name in ("layers", "width", "span")}
        checks["kernel"] = (self.kernel >= 1 and self.kernel % 2 == 1, "an odd number, 1 or more")
        checks["selection"] = (self.selection in get_args(Selection), ", ".join(get_args(Selection)))
        checks["warm"] = (0 <= self.warm < 1, "0 or more and less than 1")
        self.check_fields(checks | check_anchor_fields(self.anchors, self.count))

    @property
    def needs(self) -> frozenset[str]:
        """The states of layers and words, the teacher's embeddings, and labels for ``anchors=labels``."""
        return anchor_needs(self.anchors) | {"layers", "tokens", "live"}

    def check(self, facts: Facts) -> None:
        """Raise `OptionError` if the texts do not allow the anchors."""
        check_anchors(facts, self.anchors, self.count)

    def build(self, setting: Setting) -> nn.Module:
        """Return the ``peer``, the ``anchors``, and the linear maps between the states of the three models."""
        state: Any = nn.Module()
        state.live, state.steps = _live(setting), setting.steps
        state.anchors = fit_anchors(setting, self.anchors, self.count)
        rows = setting.sample(SAMPLE)
        batches = [_detached(setting.batch(rows[start : start + CHUNK])) for start in range(0, len(rows), CHUNK)]
        inputs = state.live.states(batches[0].features, 0).shape[-1]
        unit = are_unit(setting.targets(rows))
        state.peer = Peer(inputs, self.width, self.kernel, self.layers, setting.dim, unit=unit)
        state.peer.to(batches[0].hidden.device)
        _start_in_closed_form(state, batches)
        return state

    def terms(self, batch: Batch, state: Any) -> dict[str, Tensor]:
        """Return the losses of each text, (rows,): those of the student and of the peer in one number for each kind.

        ``peer`` is the distance of the peer from the target, and ``judge`` trains the maps that compare words with the
        teacher's. ``low``, ``region`` and ``row`` are what the two learn from each other, as far as they are used.
        """
        tokens = require_tokens(batch)
        peer = _read(state, batch)
        target = batch.teacher.detach().float()
        states = (tokens.student.float(), peer.tokens)
        taught = spans(tokens.teacher.detach().float(), tokens.mask, self.span)
        terms = {
            "peer": (peer.vectors - target).norm(dim=-1),
            "judge": self._judge(state, states, taught, tokens.mask),
        }
        if batch.step < self.warm * state.steps:
            return terms
        if self.low:
            terms["low"] = self.low * sum_of(features(state, batch.layers[0].float(), peer.layers[0]))
        if self.region:
            mapped = self._mapped(state, states, tokens.mask)
            losses = self.exchange(mapped, taught[0], distance, self.coins(batch, taught[1].shape[1]))
            terms["region"] = self.region * mean_of_valid(sum_of(losses), taught[1])
        if self.row:
            logits = state.anchors.logits(batch.student), state.anchors.logits(peer.vectors)
            judged = state.anchors.logits(target)
            losses = self.exchange(logits, judged, divergence, self.coins(batch, 1)[:, 0])
            terms["row"] = self.row * sum_of(losses)
        return terms

    def exchange(
        self, sides: Pair, truth: Tensor, apart: Callable[[Tensor, Tensor], Tensor], coins: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what each of the two ``sides`` learns from the other in every unit, (units,) each.

        ``sides`` and ``truth`` are (units, width). ``apart`` returns the distance of each unit from a target, which is
        its second argument and gets no gradient. ``coins`` (units,) decide where a coin says who teaches.
        """
        first, second = sides
        errors = [apart(side.detach(), truth) for side in sides]
        gates = {
            "reliable": (errors[1] < errors[0], errors[0] < errors[1]),
            "random": (coins, ~coins),
            "both": (torch.ones_like(coins), torch.ones_like(coins)),
        }[self.selection]
        return apart(first, second.detach()) * gates[0], apart(second, first.detach()) * gates[1]

    def _mapped(self, state: Any, states: Pair, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return the regions of both in the teacher's space of states, (rows, regions, teacher's width) each."""
        student, peer = (spans(side, words, self.span)[0] for side in states)
        return state.words_of_student(student), state.words_of_peer(peer)

    def _judge(self, state: Any, states: Pair, taught: Pair, words: Tensor) -> Tensor:
        """Return how far the regions of both are from the teacher's, (rows,); it trains the maps alone."""
        mapped = self._mapped(state, (states[0].detach(), states[1].detach()), words)
        return mean_of_valid(sum_of((distance(mapped[0], taught[0]), distance(mapped[1], taught[0]))), taught[1])

    def coins(self, batch: Batch, units: int) -> Tensor:
        """Return who learns in each unit of each text, (rows, units); a text draws the same in any batch."""
        if self.selection != "random":
            return torch.ones(len(batch.rows), units, dtype=torch.bool, device=batch.rows.device)
        draws = [numpy.random.default_rng([batch.seed, batch.step, row]).random(units) for row in batch.rows.tolist()]
        return torch.from_numpy(numpy.array(draws) < 0.5).to(batch.rows.device)


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a peer makes of a batch: its ``vectors`` (rows, dim), and its states of words and of each layer.

    ``hidden`` is the input of the head, and ``layers`` the mean over the words after each layer, each (rows, width).
    ``tokens`` are the last states of words, (rows, length, width), 0 elsewhere.
    """

    vectors: Tensor
    hidden: Tensor
    layers: tuple[Tensor, ...]
    tokens: Tensor


class Peer(nn.Module):
    """A student of convolutions over words, with a head into the teacher's space; ``unit`` normalises its vectors."""

    def __init__(self, inputs: int, width: int, kernel: int, layers: int, dim: int, *, unit: bool) -> None:
        super().__init__()
        self.unit = unit
        self.entry = nn.Linear(inputs, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in range(layers))
        self.head = nn.Linear(width, dim)

    def forward(self, embeddings: Tensor, words: Tensor) -> Read:
        """Read ``embeddings`` (rows, length, inputs) where ``words`` (rows, length) is True."""
        kept = words[..., None].to(embeddings.dtype)
        states = self.entry(embeddings) * kept
        layers = []
        for convolution in self.convolutions:
            states = (states + gelu(convolution(states.mT).mT)) * kept
            layers.append(states.sum(dim=1) / kept.sum(dim=1).clamp(min=1))
        raw = self.head(layers[-1])
        vectors = normalize(raw, dim=-1) if self.unit else raw
        return Read(vectors=vectors, hidden=layers[-1], layers=tuple(layers), tokens=states)


def features(state: Any, student: Tensor, peer: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the low states of each, (rows, width), are from the other's after its linear map, (rows,) each."""
    return (
        distance(state.low_of_student(student), peer.detach()),
        distance(state.low_of_peer(peer), student.detach()),
    )


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Return 1 - cos of ``one`` and ``other`` along the last dimension."""
    return 1 - cosine_similarity(one, other, dim=-1)


def divergence(logits: Tensor, target: Tensor) -> Tensor:
    """Return KL(target || logits) of the distributions of both along the last dimension."""
    return kl_of_logits(target, logits)


def spans(states: Tensor, words: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """Return the mean states of each ``span`` consecutive words, (rows, regions, width), and which regions exist.

    ``states`` are (rows, length, width), ``words`` (rows, length). The last region of a text may be shorter.
    """
    places = (words.cumsum(dim=1) - 1).clamp(min=0) // span
    regions = int(places.max()) + 1
    member = nn.functional.one_hot(places, regions).to(states.dtype) * words[..., None]
    counts = member.sum(dim=1)
    return member.mT @ states / counts.clamp(min=1)[..., None], counts > 0


def mean_of_valid(losses: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of the ``losses`` (rows, regions) of each text over its ``valid`` regions, (rows,)."""
    return (losses * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)


def sum_of(losses: tuple[Tensor, Tensor]) -> Tensor:
    """Return the sum of what the two learn; the gradients do not mix, because each loss reaches one of them alone."""
    return losses[0] + losses[1]


def _detached(batch: Batch) -> Batch:
    """Return ``batch`` without gradients, because several batches with theirs would keep the activations of all."""
    tokens = require_tokens(batch)
    return replace(
        batch,
        **{name: getattr(batch, name).detach() for name in ("student", "raw", "hidden")},
        layers=tuple(states.detach() for states in batch.layers),
        states=(),
        tokens=replace(tokens, student=tokens.student.detach()),
    )


def _read(state: Any, batch: Batch) -> Read:
    tokens = require_tokens(batch)
    embeddings = state.live.states(batch.features, 0).to(tokens.mask.device)
    return state.peer(embeddings, tokens.mask)


@torch.no_grad()
def _start_in_closed_form(state: Any, batches: list[Batch]) -> None:
    """Set the head of the peer, and the maps of low states and of words, to ridge solutions on ``batches``."""
    reads = [_read(state, batch) for batch in batches]
    start_linear(state.peer.head, _joined(read.hidden for read in reads), _joined(batch.teacher for batch in batches))
    lows = _joined(batch.layers[0] for batch in batches), _joined(read.layers[0] for read in reads)
    masks = [require_tokens(batch).mask for batch in batches]
    words = {
        "student": _joined(require_tokens(batch).student[mask] for batch, mask in zip(batches, masks, strict=True)),
        "peer": _joined(read.tokens[mask] for read, mask in zip(reads, masks, strict=True)),
    }
    taught = _joined(require_tokens(batch).teacher[mask] for batch, mask in zip(batches, masks, strict=True))
    state.low_of_student, state.low_of_peer = _solved(*lows), _solved(*lows[::-1])
    state.words_of_student, state.words_of_peer = (_solved(words[name], taught) for name in ("student", "peer"))


def _solved(inputs: Tensor, outputs: Tensor) -> nn.Linear:
    """Return the ridge solution from ``inputs`` to ``outputs``, (rows, width) each."""
    linear = nn.Linear(inputs.shape[1], outputs.shape[1])
    start_linear(linear, inputs, outputs)
    return linear


def _joined(parts: Any) -> Tensor:
    return torch.cat([part.detach().float().cpu() for part in parts])


def _live(setting: Setting) -> Live:
    if setting.live is None:
        raise TypeError("this training has no live teacher; hfd must need 'live'")
    return setting.live
