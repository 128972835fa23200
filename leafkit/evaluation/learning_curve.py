"""How near a student came to its teacher while it learnt, as its folder remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.training.batches import examples_after


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One validation: what had been seen by then, in optimiser steps, examples and seconds of training alone.

    ``cosine`` is the mean over the held-out texts, ``overlap_at_10`` the share of ten neighbours that is found.
    ``examples`` are a few too small after an epoch where a feed chose the texts, whose batches are always full.
    """

    step: int
    examples: int
    seconds: float
    cosine: float
    overlap_at_10: float


def learning_curve(training: Mapping[str, Any]) -> tuple[CurvePoint, ...]:
    """The validations of a student's last training, from its leafkit.json; empty where it does not tell of them."""
    try:
        texts, batch_size = training["data"]["training"], training["recipe"]["batch_size"]
        return tuple(
            CurvePoint(
                step=entry["step"],
                examples=examples_after(entry["step"], texts, batch_size),
                seconds=entry["seconds"],
                cosine=entry["cosine_mean"],
                overlap_at_10=entry["overlap_at_10"],
            )
            for entry in training["history"]
        )
    except KeyError:
        return ()
