"""Options for comparing recipes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions(Options):
    """Options of a comparison of recipes."""

    panel: ClassVar[str] = "Comparison"

    task: Annotated[
        str,
        Option(
            "Measure of the students: retrieval (nDCG@10 on the teacher's documents), similarity (Spearman "
            "correlation) or classes (accuracy)."
        ),
    ] = "retrieval"
    seeds: Annotated[int, Option("Trainings of each recipe, with the seeds 0, 1, 2 ...", at_least=1)] = 5
    split: Annotated[str, Option("Split to measure on: test, or dev to choose the values of a recipe.")] = "test"
    data_root: Annotated[
        Path | None, Option("Folder that contains the data folder of the task.", none="none; required")
    ] = None
    work: Annotated[
        Path | None,
        Option(
            "Folder of finished runs, which are reused, and of unfinished students.",
            none="the folder compare in the cache",
        ),
    ] = None
