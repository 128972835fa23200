"""Vectors of many tokenised texts with the student as it is now."""

from __future__ import annotations

import contextlib

import numpy
import torch

from leafkit.files.progress import progress
from leafkit.texts.batches import length_batches
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
    linear = forward.model[forward.head].linear
    vectors = numpy.empty((len(rows), linear.in_features if hidden else linear.out_features), dtype=numpy.float32)
    with progress(label or "", total=len(rows), unit="texts") if label else contextlib.nullcontext() as bar:
        # The longest come first, and nothing is kept between batches: each then fits into the memory of the one before,
        # where growing ones took three gigabytes for 20,000 texts.
        for part in length_batches(tokens.lengths[rows], tokens=BATCH_TOKENS, rows=BATCH_ROWS):
            vectors[part] = step(tokens.features(rows[part])).float().cpu().numpy()
            if bar is not None:
                bar.update(len(part))
    return vectors
