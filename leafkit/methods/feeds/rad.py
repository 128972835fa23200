"""RAD: spend a budget of teacher calls on informative texts, robust to a teacher that is wrong on some of them.

Paper: https://arxiv.org/abs/2210.01213

    gain g_i = 1 - (largest - second largest probability of the student), sorted in descending order
    q = argmax over distributions of the sum of q_i g_i, after an adversary has set the gain of m texts to 0:
    H_k = sum_{i <= k} 1 / g_i,    k* = argmax_k (k - m) / H_k,    q_i = 1 / (g_i H_k*) for i <= k*, otherwise 0

With m = 0, all of the budget goes to the largest gains, which is margin sampling. A larger m spreads the picks.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
from numpy.typing import NDArray

from leafkit.methods.budgeted import BudgetedFeed
from leafkit.methods.growing import STREAM

if TYPE_CHECKING:
    from leafkit.methods.setting import Setting
    from leafkit.types import Int64

Float64 = NDArray[numpy.float64]

logger = logging.getLogger("leafkit")

# The smallest gain; without it, a text that the student is sure of would take the whole budget of a large support.
LEAST_GAIN = 1e-3


@dataclass(frozen=True, kw_only=True)
class Rad(BudgetedFeed):
    """Train on a growing set of texts within a budget of teacher calls, drawn from the worst-case optimal distribution.

    Suits a teacher that is wrong on hard texts: margin sampling would spend its calls there.

    ``eps``: the share of texts on which the teacher is assumed to be wrong, 0 to less than 1; 0 is margin sampling
    (ours 0.1; measure the teacher's error rate on a few labelled texts). A share that is too large makes the picks
    nearly uniform; the log has the number of texts that a round draws from.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2210.01213"
    elicits: ClassVar[tuple[str, ...]] = ("feedback",)
    learns_by: ClassVar[tuple[str, ...]] = ("divergence and similarity",)
    skills: ClassVar[tuple[str, ...]] = ("information retrieval", "understanding")
    reconstruction: ClassVar[str] = (
        "only the paper's abstract was confirmed: the gain and the drawing are from memory, and the distribution is "
        "the proved solution of the stated game; how the paper sets m is unknown, and here m is eps times the number "
        "of candidates; the variant with a relative objective is left out; probabilities are those of the anchors; "
        "shares above 1 are spread over the other texts of the support; one student is trained with LEAF through all "
        "rounds"
    )
    small: ClassVar[Mapping[str, Any]] = {"count": 8, "every": 5, "first": 40, "picks": 20, "share": 0.5}

    eps: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_fields({"eps": (0 <= self.eps < 1, "0 to less than 1")})

    def choose(self, state: Any, setting: Setting, candidates: Int64, most: int, step: int) -> Int64:
        """Return ``most`` of the ``candidates``, drawn by the marginals of the game."""
        gains = margin_gains(self.predictions(state, setting, candidates).double().numpy())
        shares = marginals(gains, most, math.ceil(self.eps * len(candidates)))
        logger.info("rad: step %d: picks %d of a support of %d texts", step, most, numpy.count_nonzero(shares))
        return candidates[dependent_rounding(shares, numpy.random.default_rng([setting.seed, step, STREAM, 1]))]


def margin_gains(probabilities: Float64) -> Float64:
    """Return 1 - (largest - second largest) of each row of ``probabilities``, (rows,), at least `LEAST_GAIN`."""
    second, first = numpy.partition(probabilities, -2, axis=1)[:, -2:].T
    return numpy.maximum(1 - (first - second), LEAST_GAIN)


def query_distribution(gains: Float64, wrong: int) -> Float64:
    """Return q, (texts,), the distribution with the largest gain after the worst choice of ``wrong`` texts.

    ``gains`` (texts,) are positive. Among equal gains, the first texts win.
    """
    order = numpy.argsort(-gains, kind="stable")
    sums = numpy.cumsum(1 / gains[order])
    best = int(numpy.argmax((numpy.arange(1, len(gains) + 1) - wrong) / sums))
    distribution = numpy.zeros(len(gains))
    distribution[order[: best + 1]] = 1 / (gains[order[: best + 1]] * sums[best])
    return distribution


def marginals(gains: Float64, budget: int, wrong: int) -> Float64:
    """Return the probability of each text to be picked, (texts,), at most 1, with the sum ``budget``.

    These are ``budget`` times q. What exceeds 1 is spread over the rest of the support in proportion to q. A support
    smaller than the budget is extended by the texts of the next largest gains.
    """
    support = max(numpy.count_nonzero(query_distribution(gains, wrong)), budget)
    order = numpy.argsort(-gains, kind="stable")[:support]
    inverse = 1 / gains[order]
    full = numpy.zeros(support, dtype=bool)
    level = budget / inverse.sum()
    while (above := ~full & (level * inverse >= 1)).any():
        full |= above
        left = inverse[~full].sum()
        level = (budget - full.sum()) / left if left else 0.0
    shares = numpy.zeros(len(gains))
    shares[order] = numpy.where(full, 1.0, level * inverse)
    return shares


def dependent_rounding(shares: Float64, draw: numpy.random.Generator) -> Int64:
    """Return the positions of a random subset: position i with probability ``shares[i]``, always as many in all.

    The sum of ``shares`` (positions,), each 0 to 1, is a whole number. Each step moves probability between two
    fractional shares, keeping the sum and both expectations, until one of them is 0 or 1 (DepRound).
    """
    shares = shares.copy()
    places = numpy.flatnonzero((shares > 0) & (shares < 1))
    if not len(places):
        return numpy.flatnonzero(shares > 0.5)
    open_place = places[0]
    for place, chance in zip(places[1:], draw.random(len(places) - 1)):
        one, other = shares[open_place], shares[place]
        total = one + other
        if total < 1:
            keep, ends, rest = chance < one / total, 0.0, total
        else:
            keep, ends, rest = chance >= (1 - other) / (2 - total), 1.0, total - 1
        closed = place if keep else open_place
        open_place = open_place if keep else place
        shares[closed], shares[open_place] = ends, rest
    return numpy.flatnonzero(shares > 0.5)
