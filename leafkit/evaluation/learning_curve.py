"""Read from a student's folder how close the student came to its teacher during training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.students.held_out import FEWEST_TEXTS
from leafkit.training.batches import examples_after


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One validation of a training run.

    ``step``, ``examples`` and ``seconds`` say how much training came before it: optimiser steps, training examples
    and seconds without validation. ``cosine`` is the mean cosine to the teacher over the held-out texts.
    ``overlap_at_10`` is the share of the teacher's ten nearest neighbours that the student also finds; None if there
    were fewer than 200 held-out texts. If a feed chose the texts, ``examples`` is slightly too small after each epoch,
    because the batches of a feed are always full.
    """

    step: int
    examples: int
    seconds: float
    cosine: float
    overlap_at_10: float | None


def learning_curve(training: Mapping[str, Any]) -> tuple[CurvePoint, ...]:
    """Return the validations of a student's last training run; empty if ``training`` does not record them.

    ``training`` is the entry of that name in the student's leafkit.json.
    """
    try:
        texts, batch_size = training["data"]["training"], training["recipe"]["batch_size"]
        few = training["data"].get("validation", FEWEST_TEXTS) < FEWEST_TEXTS
        return tuple(
            CurvePoint(
                step=entry["step"],
                examples=examples_after(entry["step"], texts, batch_size),
                seconds=entry["seconds"],
                cosine=entry["cosine_mean"],
                overlap_at_10=None if few else entry["overlap_at_10"],
            )
            for entry in training["history"]
        )
    except KeyError:
        return ()
