"""Batches of texts of similar length, so that little padding is computed."""

from __future__ import annotations

import numpy

from leafkit.types import Int64


def length_batches(lengths: Int64, *, tokens: int, rows: int | None = None) -> list[Int64]:
    """Split the positions of all texts into batches of similar length, the longest texts first.

    lengths: the length of each text in tokens, shape (texts,).
    tokens: the size limit of a batch after padding: its rows times the length of its longest text. A text longer than
        ``tokens`` is a batch of its own.
    rows: the largest number of texts in a batch; None means no limit.

    Returns one array of positions per batch; every position is in exactly one batch.
    """
    order = numpy.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        limit = max(1, tokens // longest)
        stop = start + min(limit, rows or limit)
        batches.append(order[start:stop])
        start = stop
    return batches
