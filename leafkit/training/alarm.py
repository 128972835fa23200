"""The collapse alarm: a student that gives all texts nearly one vector, or a loss that is no number."""

from __future__ import annotations

import logging
import math

from leafkit.errors import TrainingError
from leafkit.training.checkpoint import State
from leafkit.training.validation import Figures

# Of the teacher's variance. Students of any use keep more than half; all-equal vectors have none.
COLLAPSED = 0.05
FALLEN = 0.2

ADVICE = (
    "Try a lower learning rate (a tenth), a longer warm-up or the ridge start of the head; check the texts with "
    "leafkit info. The checkpoint before it is kept: {folder}"
)

logger = logging.getLogger("leafkit")


def check_loss(loss: float, step: int, folder: object) -> None:
    """Raise `TrainingError` if ``loss`` is not a finite number."""
    if not math.isfinite(loss):
        raise TrainingError(f"the loss became {loss} by step {step}. {ADVICE.format(folder=folder)}")


def check_spread(figures: Figures, state: State, folder: object) -> None:
    """Raise `TrainingError` if the students' vectors have fallen together; warn if they never stood apart.

    ``state.widest`` is the largest spread seen at earlier validations.
    """
    if not math.isfinite(figures.cosine_mean):
        raise TrainingError(
            f"the student's vectors are not numbers at step {state.step}. {ADVICE.format(folder=folder)}"
        )
    if figures.spread >= COLLAPSED:
        return
    seen = f"the student's vectors vary {figures.spread:.1%} as much as the teacher's at step {state.step}"
    if figures.spread < FALLEN * state.widest:
        raise TrainingError(
            f"the student has collapsed: {seen}, and {state.widest:.1%} before. {ADVICE.format(folder=folder)}"
        )
    logger.warning("%s: nearly all texts get one vector", seen)
