"""Options of a shadow run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class ShadowOptions(Options):
    """What is compared, and how much of it is shown."""

    panel: ClassVar[str] = "Shadow run"

    between: Annotated[
        Sequence[str] | None,
        Option(
            "Two efforts of the index, e.g. small,full; the first is tried, and the second is what it is compared "
            "with. teacher is the model that the index was built with.",
            none="the two best students of the index, or its only student and the teacher",
            commas=True,
        ),
    ] = None
    worst: Annotated[int, Option("How many of the queries that differ most are shown.", at_least=0)] = 20
    seed: Annotated[int, Option("Seed of the bootstrap interval.", at_least=0)] = 0
