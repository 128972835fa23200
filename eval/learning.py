"""How near a student came to its teacher while it learnt, as its folder remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.training.batches import steps_per_epoch


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One validation: what had been seen by then, in optimiser steps, examples and seconds of training alone.

    ``cosine`` is the mean over the held-out texts, ``overlap_at_10`` the share of ten neighbours that is found.
    """

    step: int
    examples: int
    seconds: float
    cosine: float
    overlap_at_10: float


def learning_curve(training: Mapping[str, Any]) -> tuple[Moment, ...]:
    """The validations of a student's last training, from its leafkit.json; empty where it says nothing of them."""
    if not training.get("history"):
        return ()
    texts, batch_size = training["data"]["training"], training["recipe"]["batch_size"]
    return tuple(
        Moment(
            step=entry["step"],
            examples=_examples(entry["step"], texts, batch_size),
            seconds=entry["seconds"],
            cosine=entry["cosine_mean"],
            overlap_at_10=entry["overlap_at_10"],
        )
        for entry in training["history"]
    )


def _examples(step: int, texts: int, batch_size: int) -> int:
    """The last batch of an epoch may be smaller."""
    epochs, rest = divmod(step, steps_per_epoch(texts, batch_size))
    return epochs * texts + min(rest * batch_size, texts)
