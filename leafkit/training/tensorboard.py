"""Write training curves for TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from leafkit.extras import explain_missing_extras
from leafkit.training.loop import Report


@contextlib.contextmanager
def tensorboard_report(folder: Path | None) -> Iterator[Report | None]:
    """Give a function that writes the figures of a step to ``folder``; None if ``folder`` is None."""
    if folder is None:
        yield None
        return
    with explain_missing_extras():
        from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:

        def report(step: int, figures: dict[str, float]) -> None:
            for name, value in figures.items():
                writer.add_scalar(name, value, step)

        yield report
