"""HARD: train also on changed texts, by the operators on which student and teacher disagree most.

Paper: https://arxiv.org/abs/2305.14890

    student phase:   min over the student of D(x~) + D(x),  D(x) = ||s(x) - t(x)||^2,  x~ = x changed by an operator
    augmentor phase: max over phi of the mean D(x~),  phi = the probability of each operator:
        phi_k <- phi_k exp(rate (D_k / mean of all D_k - 1)), scaled to the sum 1, at least ``floor``
    the augmentor moves until the mean D(x~) is ``most`` times the mean D(x), and again when it is ``least`` times it

The teacher encodes every changed text, so nothing is assumed about what an operator does to the meaning.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.method import Feed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.batch import Batch, View
    from leafkit.methods.setting import Setting
    from leafkit.students.head import Linear
    from leafkit.types import Int64

    Operator = Callable[[Int64, int, Int64, numpy.random.Generator], Int64]

Float64 = NDArray[numpy.float64]

# Separates the random numbers of this feed from those of others.
STREAM = 47
# The texts of each role whose first and last tokens show what the prompt is.
SAMPLE = 32

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Hard(Feed):
    """Add a changed view to texts, with an operator that is chosen more often the less the student follows the teacher.

    The operators drop, swap, shuffle or replace words, cut out words or the end, and move the beginning to the end,
    each in a light and in a strong form. At most half of the words are dropped or replaced; the prompt stays. A view
    with a vector far from its text's is left out. With a view for every text, the student reads twice as many texts in
    each step, and the teacher reads half of them. The log of a finished training has the probabilities.

    ``share``: probability that a text gets a view, 0 to 1; 0 disables the method (ours 1).
    ``rate``: learning rate of the probabilities; 0 keeps all operators equally likely (ours 0.1).
    ``floor``: smallest probability of an operator (ours 0.02).
    ``plausible``: a view is left out if the cosine of its teacher vector with that of its text is below this (ours
    0.5).
    ``most``, ``least``: the probabilities stop moving when the error on views is ``most`` times the error on texts, and
    move again when it is ``least`` times that error (paper: two thresholds, unknown to us).
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2305.14890"
    elicits: ClassVar[tuple[str, ...]] = ("labeling", "feedback")
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    off: ClassVar[Mapping[str, Any]] = {"share": 0.0}
    reconstruction: ClassVar[str] = (
        "the paper has no public code, and its formulas and thresholds are unknown to us; a bandit over operators on "
        "words replaces a network that is trained through the teacher; both phases run in the same step, and the "
        "thresholds only decide whether the bandit moves; casing, typing errors and paraphrases are left out, because "
        "they need more than token ids"
    )

    share: float = 1.0
    rate: float = 0.1
    floor: float = 0.02
    plausible: float = 0.5
    most: float = 2.0
    least: float = 1.5

    def __post_init__(self) -> None:
        largest = 1 / len(ARMS)
        self.check_fields(
            {
                "share": (0 <= self.share <= 1, "0 to 1, a share of the texts"),
                "rate": (0 <= self.rate < float("inf"), "0 or more"),
                "floor": (0 <= self.floor <= largest, f"0 to {largest:.3f}, one of {len(ARMS)} operators"),
                "plausible": (-1 <= self.plausible <= 1, "-1 to 1, a cosine"),
                "most": (self.most > 0, "more than 0"),
                "least": (0 < self.least <= self.most, f"more than 0 and at most {self.most:g}, the field most"),
            }
        )

    @property
    def needs(self) -> frozenset[str]:
        """The live teacher, which encodes the views."""
        return frozenset({"live"} if self.share > 0 else ())

    def build(self, setting: Setting) -> nn.Module:
        """Return ``shares``, the probability of each operator, ``moves``, and ``edges``.

        ``edges`` (roles, 2) are the numbers of tokens at the beginning and at the end of the texts of each role that
        all of them have in common: special tokens and the prompt.
        """
        import torch

        state = torch.nn.Module()
        state.register_buffer("shares", torch.full((len(ARMS),), 1 / len(ARMS), dtype=torch.float64))
        state.register_buffer("moves", torch.tensor(True))
        edges = numpy.ones((2, 2), dtype=numpy.int64)
        for role in (0, 1) if self.share > 0 else ():
            rows = numpy.random.default_rng([setting.seed, STREAM]).permutation(
                numpy.flatnonzero(setting.roles == role)
            )[:SAMPLE]
            if len(rows) > 1:
                edges[role] = common_edges(_tokens(setting.batch(rows).features))
        state.register_buffer("edges", torch.from_numpy(edges))
        _note(state)
        return state

    def views(self, view: View, state: Any) -> View:
        """Return ``view`` followed by the changed texts; those that an operator leaves as they are get no view."""
        import torch

        _note(state)
        if self.share == 0:
            return view
        changed = self._changed(view, state)
        state.arms = numpy.array([-1] * len(view.rows) + [arm for _, arm, _ in changed], dtype=numpy.int64)
        if not changed:
            return view
        places = torch.tensor([place for place, _, _ in changed], device=view.rows.device)
        added = {name: torch.cat([value, value[places]]) for name, value in vars(view).items() if name in _BY_ROW}
        return dataclasses.replace(view, **added, features=with_texts(view.features, [ids for _, _, ids in changed]))

    def _changed(self, view: View, state: Any) -> list[tuple[int, int, Int64]]:
        """Return the views: the place of each text, the operator, and the positions of its tokens in the batch.

        The draw of a text depends on its row, not on its place in the batch.
        """
        ids = view.features["input_ids"].cpu().numpy().ravel()
        kept = _positions(view.features["attention_mask"])
        shares, edges = state.shares.cpu().numpy(), state.edges.cpu().numpy()[view.roles.cpu().numpy()]
        bodies = [text[first : max(len(text) - last, first)] for text, (first, last) in zip(kept, edges)]
        rows = view.rows.cpu().numpy()
        others = numpy.concatenate([bodies[place] for place in numpy.argsort(rows, kind="stable")])
        changed = []
        for place, row in enumerate(rows.tolist()):
            draw = numpy.random.default_rng([view.seed, view.step, STREAM, row])
            if draw.random() >= self.share or len(bodies[place]) < 2:
                continue
            arm = int(draw.choice(len(ARMS), p=shares / shares.sum()))
            body, first = bodies[place], edges[place, 0]
            new = operate(arm, body, others, draw)
            if not numpy.array_equal(ids[new], ids[body]):
                text = kept[place]
                changed.append((place, arm, numpy.concatenate([text[:first], new, text[first + len(body) :]])))
        return changed

    def answered(self, view: View, state: Any) -> View:
        """Return ``view`` without the views that the teacher places too far from their texts."""
        import torch
        from torch.nn.functional import cosine_similarity

        added = torch.from_numpy(state.arms >= 0).to(view.teacher.device)
        near = cosine_similarity(view.teacher, view.teacher[view.origin], dim=-1) >= self.plausible
        kept = near | ~added
        if bool(kept.all()):
            return view
        places = kept.cpu().numpy()
        state.rejected, state.arms = state.arms[~places], state.arms[places]
        fields = {name: value[kept] for name, value in vars(view).items() if name in _BY_ROW}
        shape = view.features["input_ids"].shape
        features = {name: value[kept] if value.shape == shape else value for name, value in view.features.items()}
        return dataclasses.replace(view, **fields, features=features)

    def after_step(self, batch: Batch, terms: dict[str, Tensor], state: Any) -> None:
        """Move the probabilities towards the operators with the largest errors; a view left out counts as no error."""
        import torch

        arms, rejected = state.arms, state.rejected
        added = arms >= 0
        gaps = (batch.student.float() - batch.teacher.float()).square().sum(dim=-1)[: len(arms)].double().cpu().numpy()
        if not added.any() or not gaps[added].sum() > 0:
            return
        ratio = gaps[added].mean() / max(gaps[~added].mean(), 1e-12)
        state.moves.fill_(ratio < self.most if bool(state.moves) else ratio <= self.least)
        if bool(state.moves):
            of_arms = advantages(
                numpy.append(arms[added], rejected), numpy.append(gaps[added], numpy.zeros(len(rejected)))
            )
            shares = hedge(state.shares.cpu().numpy(), self.rate * of_arms, self.floor)
            state.shares.copy_(torch.from_numpy(shares))

    def finish(self, state: Any, head: Linear) -> Linear:
        """Log the probabilities of the operators, and return ``head``."""
        if self.share > 0:
            shares = zip(ARMS, state.shares.tolist(), strict=True)
            logger.info(
                "hard: %s", ", ".join(f"{name} {strength:g}: {share:.2f}" for (name, strength), share in shares)
            )
        return head


_BY_ROW = ("teacher", "roles", "rows", "labels", "domains", "origin")


def _note(state: Any) -> None:
    """Forget the views of the last step: ``arms`` (rows,), -1 for a text, and the operators ``rejected``."""
    state.arms = state.rejected = numpy.zeros(0, dtype=numpy.int64)


def advantages(arms: Int64, rewards: Float64) -> Float64:
    """Return the mean reward of each operator over the mean of all rewards, less 1, (operators,).

    ``arms`` and ``rewards`` (views,) are the operator and the error of each view. An operator without a view gets 0.
    """
    counts = numpy.bincount(arms, minlength=len(ARMS))
    sums = numpy.bincount(arms, rewards, minlength=len(ARMS))
    return numpy.where(counts > 0, sums / numpy.maximum(counts, 1) / rewards.mean() - 1, 0.0)


def hedge(shares: Float64, gains: Float64, floor: float) -> Float64:
    """Return ``shares`` multiplied by exp(``gains``), (operators,), with the sum 1 and each at least ``floor``.

    A share below the floor is raised to it, and the others are scaled down together.
    """
    grown = shares * numpy.exp(gains - gains.max())
    low = numpy.zeros(len(shares), dtype=bool)
    while True:
        # At a floor of one in all operators, every share is at the floor.
        scaled = numpy.where(low, floor, grown * (1 - floor * low.sum()) / max(grown[~low].sum(), 1e-300))
        below = ~low & (scaled < floor)
        if not below.any():
            return scaled
        low |= below


def drop(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body`` without ``count`` random ones."""
    return numpy.delete(body, draw.permutation(len(body))[:count])


def span(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body`` without ``count`` consecutive ones."""
    start = draw.integers(len(body) - count + 1)
    return numpy.delete(body, numpy.arange(start, start + count))


def truncate(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body`` without the last ``count``."""
    return body[: len(body) - count]


def replace(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body``, ``count`` of them replaced by random tokens of the batch, ``others``."""
    new = body.copy()
    new[draw.permutation(len(body))[:count]] = draw.choice(others, count)
    return new


def swap(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body`` after ``count`` swaps of two neighbours."""
    new = body.copy()
    for place in draw.integers(len(body) - 1, size=count):
        new[[place, place + 1]] = new[[place + 1, place]]
    return new


def shuffle(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body``, those at ``count`` random places (at least two) in a random order."""
    new, places = body.copy(), numpy.sort(draw.permutation(len(body))[: max(count, 2)])
    new[places] = body[draw.permutation(places)]
    return new


def rotate(body: Int64, count: int, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body`` with the first ``count`` moved to the end."""
    return numpy.roll(body, -count)


OPERATORS: dict[str, Operator] = {
    function.__name__: function for function in (drop, span, truncate, replace, swap, shuffle, rotate)
}
ARMS = tuple((name, strength) for name in OPERATORS for strength in ((0.5, 1.0) if name == "shuffle" else (0.2, 0.5)))
"""The operators with their strengths: the share of the words of a text that one changes."""


def operate(arm: int, body: Int64, others: Int64, draw: numpy.random.Generator) -> Int64:
    """Return the tokens ``body``, at least two, changed by the operator ``ARMS[arm]`` in at least one place."""
    name, strength = ARMS[arm]
    return OPERATORS[name](body, max(1, int(strength * len(body))), others, draw)


def common_edges(texts: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Return the numbers of tokens that all ``texts`` have in common at the beginning and at the end.

    A token counts only once, so the two never overlap in the shortest text.
    """
    shortest = min(map(len, texts))

    def common(columns: Sequence[Sequence[int]], most: int) -> int:
        different = (place for place in range(most) if len({text[place] for text in columns}) > 1)
        return next(different, most)

    first = common(texts, shortest)
    return first, common([text[::-1] for text in texts], shortest - first)


def with_texts(features: dict[str, Tensor], texts: Sequence[Int64]) -> dict[str, Tensor]:
    """Return ``features`` followed by the ``texts``, each given by the flat positions of its tokens in the batch.

    No text is longer than the longest of the batch. Padding stays on its side.
    """
    import torch

    mask = features["attention_mask"].bool()
    left, (_, length) = not bool(mask[:, 0].all()), mask.shape
    index = numpy.full((len(texts), length), -1)
    for row, text in zip(index, texts, strict=True):
        row[slice(length - len(text), None) if left else slice(len(text))] = text
    source = torch.from_numpy(index).to(mask.device)

    def extended(values: Tensor) -> Tensor:
        # The sum of at most one padding value: the padding of the batch, or 0 without padding.
        padding = values[~mask][:1].sum().to(values.dtype)
        return torch.cat([values, torch.where(source < 0, padding, values.reshape(-1)[source.clamp(min=0)])])

    return {name: extended(values) if values.shape == mask.shape else values for name, values in features.items()}


def _positions(mask: Tensor) -> list[Int64]:
    """Return the flat positions of the tokens of each text."""
    kept = mask.bool().cpu().numpy()
    return [row[own] for row, own in zip(numpy.arange(kept.size).reshape(kept.shape), kept)]


def _tokens(features: dict[str, Tensor]) -> list[list[int]]:
    """Return the token ids of each text, without padding."""
    ids = features["input_ids"].cpu().numpy().ravel()
    return [ids[text].tolist() for text in _positions(features["attention_mask"])]
