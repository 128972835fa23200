"""The learning rate of every step: cycles of linear decay, with a short warm-up in the first cycle."""

from __future__ import annotations


def learning_rate_at(step: int, *, steps: int, cycles: int, start: float, end: float, warmup: float = 0.0) -> float:
    """Return the learning rate of step ``step``, counted from 0, of ``steps``.

    Training is divided into ``cycles`` equal parts. In each the rate falls linearly from ``start`` in the first step to
    ``end`` in the last. In the first cycle the rate also rises linearly over the first ``warmup`` (a share of the
    cycle, 0 to 1).
    """
    first = step * cycles // steps
    begin, after = -(-first * steps // cycles), -(-(first + 1) * steps // cycles)
    length = after - begin
    share = (step - begin) / max(1, length - 1)
    rate = start + (end - start) * share
    rising = round(warmup * length) if first == 0 else 0
    return rate * (step + 1) / (rising + 1) if step < rising else rate
