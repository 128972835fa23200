"""Choose which transformer layers to keep.

Greedy backward elimination drops at each step the layer whose removal hurts the held-out cosine least.
"""

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
from leafkit.training.data import TokenFile
from leafkit.training.forward import BATCH_ROWS, BATCH_TOKENS, StudentForward
from leafkit.types import ROLES, Float32, Int64

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_TEXTS = 2_000
# Texts drawn at random. Only the shortest of them are used, because the time of a trial grows with text length.
DRAWN = 4 * MOST_TEXTS
FEWEST_TEXTS = 20

logger = logging.getLogger("leafkit")


def pick_layers(count: int, forward: StudentForward, tokens: TokenFile, rows: Int64, targets: Float32) -> list[int]:
    """Keep ``count`` layers of the untrained student of ``forward`` in place; return them, counted from 0.

    At each step every remaining layer is left out in turn, and a ridge head is fitted from the student's output for
    ``rows`` to ``targets``, (rows, dim). The layer without which the cosine on a held-out tenth is highest is dropped.
    Evenly spaced layers, the usual choice, ignore what a layer does: of bge-small's twelve layers, greedy elimination
    keeps the first two and the last four, and drops those in the middle.

    Raises `OptionError` if there are too few texts. The student must have at least ``count`` layers.
    """
    stack = Layers(forward.student.transformer)
    if len(rows) < FEWEST_TEXTS:
        raise OptionError(
            f"pick=greedy compares layers on {len(rows)} training texts; expected at least {FEWEST_TEXTS}. "
            "Give more texts, or remove pick=greedy to keep evenly spaced layers."
        )
    kept, best = list(range(stack.total)), float("nan")
    trials = sum(range(count + 1, stack.total + 1))
    with progress("pick layers", total=trials, unit="trials") as bar:
        while len(kept) > count:
            features = without_each(kept, stack, forward, tokens, rows)
            cosines = [fit_head(trial, targets).cosine for trial in features]
            bar.update(len(kept))
            remaining = {place: [*kept[:place], *kept[place + 1 :]] for place in range(len(kept))}
            allowed = (place for place, layers in remaining.items() if stack.misplaced(layers) is None)
            dropped = max(allowed, key=cosines.__getitem__)
            kept, best = remaining[dropped], cosines[dropped]
    stack.keep(kept)
    chosen = ", ".join(map(str, kept))
    logger.info("layers: %s of %d kept, cosine %.4f with a ridge head on short texts", chosen, stack.total, best)
    return kept


@torch.inference_mode()
def without_each(
    kept: Sequence[int], stack: Layers, forward: StudentForward, tokens: TokenFile, rows: Int64
) -> list[Float32]:
    """Return the head's input for ``rows`` with each of the layers ``kept`` left out in turn, each (rows, width).

    The layers before the omitted one are computed once for all trials.
    """
    found: list[list[Float32]] = [[] for _ in kept]
    parts = length_batches(tokens.lengths[rows], tokens=BATCH_TOKENS, rows=BATCH_ROWS)
    for part in parts:
        batch = tokens.features(rows[part])
        stack.keep(kept)
        outputs = _outputs(stack.current, forward, batch)
        for place in range(len(kept)):
            # Earlier layers are not computed again: the layer before the gap is patched to return its cached output.
            stack.keep([*kept[max(place - 1, 0) : place], *kept[place + 1 :]])
            with _returning(stack.current[0], outputs[place - 1]) if place else contextlib.nullcontext():
                found[place].append(forward.hidden(dict(batch)).cpu().numpy())
    back = numpy.argsort(numpy.concatenate(parts))
    return [numpy.concatenate(trial)[back] for trial in found]


def _outputs(layers: nn.ModuleList, forward: StudentForward, batch: dict[str, Tensor]) -> list[Any]:
    """Return the output of each of ``layers`` for ``batch``."""
    outputs: list[Any] = []
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output)) for layer in layers]
    try:
        forward.hidden(dict(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


@contextlib.contextmanager
def _returning(layer: nn.Module, output: Any) -> Iterator[None]:
    """Make ``layer`` return ``output`` for any input inside the block."""
    layer.forward = lambda *_inputs, **_named: output
    try:
        yield
    finally:
        del layer.forward


def short_texts(lengths: Int64, roles: Int64, drawn: Int64) -> Int64:
    """Return the shortest texts of each role among the rows ``drawn``, at most 2,000 in all, in ascending order.

    ``lengths`` and ``roles`` cover all texts, (texts,).
    """
    by_length = drawn[numpy.argsort(lengths[drawn], kind="stable")]
    shortest = [by_length[roles[by_length] == role][: MOST_TEXTS // 2] for role in range(len(ROLES))]
    return numpy.sort(numpy.concatenate(shortest))
