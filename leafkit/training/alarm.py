"""Detect a training that has failed: all texts get nearly the same vector, or the loss is not a finite number."""

from __future__ import annotations

import logging
import math

from leafkit.errors import TrainingError
from leafkit.training.checkpoint import State
from leafkit.training.validation import Figures

# A share of the teacher's variance, below which vectors are nearly equal. Useful students keep more than half of it.
COLLAPSED = 0.05
# A student has collapsed if it keeps less than this share of its own largest spread.
FALLEN = 0.2

ADVICE = (
    "Try a lower learning rate (a tenth), a longer warm-up or the ridge start of the head, and check the texts with "
    "`leafkit info`. The earlier checkpoints are kept in {folder}"
)

logger = logging.getLogger("leafkit")


def check_loss(loss: float, step: int, folder: object) -> None:
    """Raise `TrainingError` if ``loss`` is not a finite number."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at step {step}; expected a finite number. {ADVICE.format(folder=folder)}"
        )


def check_spread(figures: Figures, state: State, folder: object) -> None:
    """Raise `TrainingError` if the student's vectors have become nearly equal; warn if they were so from the start.

    ``figures`` are those of the current validation, and ``state.widest`` is the largest spread of earlier ones.
    """
    if not math.isfinite(figures.cosine_mean):
        raise TrainingError(
            f"the student's vectors have a mean cosine of {figures.cosine_mean} at step {state.step}; expected a "
            f"finite number. {ADVICE.format(folder=folder)}"
        )
    if figures.spread >= COLLAPSED:
        return
    finding = f"at step {state.step} the student's vectors have {figures.spread:.1%} of the teacher's variance"
    if figures.spread < FALLEN * state.widest:
        raise TrainingError(
            f"the student has collapsed: {finding}, after {state.widest:.1%} earlier. {ADVICE.format(folder=folder)}"
        )
    logger.warning("%s: nearly all texts get the same vector", finding)
