"""Which layers of a transformer make the best start: one after the other is left out whose loss costs least."""

from __future__ import annotations

import logging

import numpy

from leafkit.errors import OptionError
from leafkit.progress import progress
from leafkit.students.head import fit_head
from leafkit.students.layers import Layers
from leafkit.training.encode import encode_rows
from leafkit.training.forward import StudentForward
from leafkit.training.tokens import TokenFile
from leafkit.types import ROLES, Float32, Int64

MOST_TEXTS = 2_000
# A choice of layers that is right for short texts is right for long ones, at a fraction of the time.
DRAWN = 4 * MOST_TEXTS
FEWEST_TEXTS = 20

logger = logging.getLogger("leafkit")


def pick_layers(count: int, forward: StudentForward, tokens: TokenFile, rows: Int64, targets: Float32) -> list[int]:
    """Leave ``count`` layers in the student of ``forward``, untrained; returns which, counted from 0.

    Greedy backward elimination: of all layers still there, the one is left out without which a ridge head from what
    the student writes for ``rows`` to ``targets``, (rows, dim), has the highest cosine on a held-out tenth; and so on.
    Evenly spaced layers, the usual choice, do not ask what a layer does: of bge-small's twelve, greedy elimination
    spares the first two and the last four, and leaves out those in the middle.

    Raises `OptionError` if there are not so many layers, or too few texts to judge by.
    """
    stack = Layers(forward.model[0].model)
    if not 1 <= count <= stack.total:
        raise OptionError(f"got layers={count}, but the model has {stack.total}: keep between 1 and {stack.total}")
    if len(rows) < FEWEST_TEXTS:
        raise OptionError(
            f"pick=greedy chooses layers by training texts and got {len(rows)}; "
            f"give it {FEWEST_TEXTS} or more, or leave it out for evenly spaced layers"
        )

    def cosine(kept: list[int]) -> float:
        stack.keep(kept)
        return fit_head(encode_rows(forward, tokens, rows, hidden=True), targets).cosine

    kept, best = list(range(stack.total)), float("nan")
    trials = sum(range(count + 1, stack.total + 1))
    with progress("pick layers", total=trials, unit="trials") as bar:
        while len(kept) > count:
            scores = {}
            for place in range(len(kept)):
                scores[place] = cosine(kept[:place] + kept[place + 1 :])
                bar.update(1)
            place, best = max(scores.items(), key=lambda found: found[1])
            del kept[place]
    stack.keep(kept)
    chosen = ", ".join(map(str, kept))
    logger.info("layers: %s of %d, by a cosine of %.4f with a ridge head on short texts", chosen, stack.total, best)
    return kept


def short_texts(lengths: Int64, roles: Int64, drawn: Int64) -> Int64:
    """The shortest of each role among the rows ``drawn``, at most `MOST_TEXTS` together, in ascending order."""
    by_length = drawn[numpy.argsort(lengths[drawn], kind="stable")]
    shortest = [by_length[roles[by_length] == role][: MOST_TEXTS // 2] for role in range(len(ROLES))]
    return numpy.sort(numpy.concatenate(shortest))
