"""The learning rate of every step: cycles of linear decay, with a short warm-up at the very start."""

from __future__ import annotations


def learning_rate_at(step: int, *, steps: int, cycles: int, start: float, end: float, warmup: float = 0.0) -> float:
    """The rate of step ``step`` (counted from 0) of ``steps``.

    Each of ``cycles`` equal parts falls linearly from ``start`` in its first step to ``end`` in its last. In the
    first cycle the rate is brought up linearly over its first ``warmup`` (a share of the cycle, 0 to 1).
    """
    first = step * cycles // steps
    begin, after = -(-first * steps // cycles), -(-(first + 1) * steps // cycles)
    length = after - begin
    share = (step - begin) / max(1, length - 1)
    rate = start + (end - start) * share
    rising = round(warmup * length) if first == 0 else 0
    return rate * (step + 1) / (rising + 1) if step < rising else rate
