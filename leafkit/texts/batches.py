"""Batches of texts of like length, so that hardly any padding is computed."""

from __future__ import annotations

import numpy

from leafkit.types import Int64


def length_batches(lengths: Int64, *, tokens: int, rows: int | None = None) -> list[Int64]:
    """Positions of all texts, longest first, cut so that no batch exceeds ``tokens`` once padded to its longest.

    ``rows`` bounds the texts of a batch as well; a text longer than ``tokens`` is a batch of its own.
    """
    order = numpy.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        fit = max(1, tokens // longest)
        stop = start + min(fit, rows or fit)
        batches.append(order[start:stop])
        start = stop
    return batches
