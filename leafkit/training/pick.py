"""Which layers of a transformer make the best start: one after the other is left out whose loss costs least."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch

from leafkit.errors import OptionError
from leafkit.files.progress import progress
from leafkit.students.head import fit_head
from leafkit.students.layers import Layers
from leafkit.texts.batches import length_batches
from leafkit.training.encode import BATCH_ROWS, BATCH_TOKENS
from leafkit.training.forward import StudentForward
from leafkit.training.tokens import TokenFile
from leafkit.types import ROLES, Float32, Int64

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_TEXTS = 2_000
# Of so many the shortest are taken: a trial takes as long as its texts are.
DRAWN = 4 * MOST_TEXTS
FEWEST_TEXTS = 20

logger = logging.getLogger("leafkit")


def pick_layers(count: int, forward: StudentForward, tokens: TokenFile, rows: Int64, targets: Float32) -> list[int]:
    """Leave ``count`` layers in the student of ``forward``, untrained; returns which, counted from 0.

    Greedy backward elimination: of all layers still there, the one is left out without which a ridge head from what
    the student writes for ``rows`` to ``targets``, (rows, dim), has the highest cosine on a held-out tenth; and so on.
    Evenly spaced layers, the usual choice, do not ask what a layer does: of bge-small's twelve, greedy elimination
    spares the first two and the last four, and leaves out those in the middle.

    Raises `OptionError` for too few texts to judge by. There must be more than ``count`` layers, or as many.
    """
    stack = Layers(forward.model[0].model)
    if len(rows) < FEWEST_TEXTS:
        raise OptionError(
            f"pick=greedy chooses layers by training texts and got {len(rows)}; "
            f"give it {FEWEST_TEXTS} or more, or leave it out for evenly spaced layers"
        )

    kept, best = list(range(stack.total)), float("nan")
    trials = sum(range(count + 1, stack.total + 1))
    with progress("pick layers", total=trials, unit="trials") as bar:
        while len(kept) > count:
            features = without_each(kept, stack, forward, tokens, rows)
            cosines = [fit_head(one, targets).cosine for one in features]
            bar.update(len(kept))
            left = {place: [*kept[:place], *kept[place + 1 :]] for place in range(len(kept))}
            place = max((one for one in left if stack.misplaced(left[one]) is None), key=cosines.__getitem__)
            kept, best = left[place], cosines[place]
    stack.keep(kept)
    chosen = ", ".join(map(str, kept))
    logger.info("layers: %s of %d, by a cosine of %.4f with a ridge head on short texts", chosen, stack.total, best)
    return kept


@torch.inference_mode()
def without_each(
    kept: Sequence[int], stack: Layers, forward: StudentForward, tokens: TokenFile, rows: Int64
) -> list[Float32]:
    """What the head would see of ``rows`` without the first of the layers ``kept``, without the second, and so on.

    Each (rows, width). The layers before the one left out are computed once for all.
    """
    found: list[list[Float32]] = [[] for _ in kept]
    parts = length_batches(tokens.lengths[rows], tokens=BATCH_TOKENS, rows=BATCH_ROWS)
    for part in parts:
        batch = tokens.features(rows[part])
        stack.keep(kept)
        outputs = _outputs(stack.now, forward, batch)
        for place in range(len(kept)):
            # The layer before the missing one stands for all before it, and answers as it did.
            stack.keep([*kept[max(place - 1, 0) : place], *kept[place + 1 :]])
            with _answering(stack.now[0], outputs[place - 1]) if place else contextlib.nullcontext():
                found[place].append(forward.hidden(dict(batch)).cpu().numpy())
    back = numpy.argsort(numpy.concatenate(parts))
    return [numpy.concatenate(one)[back] for one in found]


def _outputs(layers: nn.ModuleList, forward: StudentForward, batch: dict[str, Tensor]) -> list[Any]:
    """What each of ``layers`` gives for ``batch``."""
    outputs: list[Any] = []
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output)) for layer in layers]
    try:
        forward.hidden(dict(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


@contextlib.contextmanager
def _answering(layer: nn.Module, output: Any) -> Iterator[None]:
    """Let ``layer`` give ``output``, whatever it is asked, inside the block."""
    layer.forward = lambda *_inputs, **_named: output
    try:
        yield
    finally:
        del layer.forward


def short_texts(lengths: Int64, roles: Int64, drawn: Int64) -> Int64:
    """The shortest of each role among the rows ``drawn``, at most `MOST_TEXTS` together, in ascending order."""
    by_length = drawn[numpy.argsort(lengths[drawn], kind="stable")]
    shortest = [by_length[roles[by_length] == role][: MOST_TEXTS // 2] for role in range(len(ROLES))]
    return numpy.sort(numpy.concatenate(shortest))
