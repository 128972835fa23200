"""Vectors of many tokenised texts with the student as it is now."""

from __future__ import annotations

import contextlib

import numpy
import torch

from leafkit.progress import progress
from leafkit.training.forward import StudentForward
from leafkit.training.tokens import TokenFile
from leafkit.types import Float32, Int64

BATCH_TOKENS = 8192
BATCH_ROWS = 256


@torch.inference_mode()
def encode_rows(
    forward: StudentForward, tokens: TokenFile, rows: Int64, *, hidden: bool = False, label: str | None = None
) -> Float32:
    """Vectors of ``rows`` in that order, (rows, dim); with ``hidden`` what the head sees, (rows, width).

    With ``label`` a progress bar of that name is shown.
    """
    step = forward.hidden if hidden else forward.forward
    order = numpy.argsort(tokens.lengths[rows], kind="stable")
    found = []
    with progress(label or "", total=len(rows), unit="texts") if label else contextlib.nullcontext() as bar:
        for part in _parts(tokens.lengths[rows], order):
            found.append(step(tokens.features(rows[part])).float().cpu().numpy())
            if bar is not None:
                bar.update(len(part))
    vectors = numpy.empty((len(rows), found[0].shape[1]), dtype=numpy.float32)
    vectors[order] = numpy.concatenate(found)
    return vectors


def _parts(lengths: Int64, order: Int64) -> list[Int64]:
    """``order`` (by length) in parts of at most 8,192 padded tokens and 256 rows."""
    parts, start = [], 0
    while start < len(order):
        stop = min(start + BATCH_ROWS, len(order))
        while stop - start > 1 and (stop - start) * lengths[order[stop - 1]] > BATCH_TOKENS:
            stop = start + (stop - start + 1) // 2
        parts.append(order[start:stop])
        start = stop
    return parts
