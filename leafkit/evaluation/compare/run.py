"""Compare recipes on a task: train each once per seed, then measure every student."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leafkit.errors import OptionError, TrainingError
from leafkit.evaluation.compare.recipes import RecipeEntry, read_entries
from leafkit.evaluation.compare.report import Result, result
from leafkit.evaluation.compare.study import Run, Study
from leafkit.evaluation.compare.tasks import Task, open_task
from leafkit.evaluation.provenance import commit
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import write_file
from leafkit.training.distill import distill
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.mapping import mapped
from leafkit.vectors.store import default_cache


def compare(
    recipes: Sequence[str | Path],
    *,
    task: str = "retrieval",
    seeds: int = 5,
    split: str = "test",
    data_root: Path,
    work: Path | None = None,
    cache: Path | None = None,
) -> list[Result]:
    """Train every recipe with the seeds 0 to ``seeds`` - 1 and return the result of each but the first, the baseline.

    task: retrieval, similarity or classes (`leafkit.evaluation.compare.tasks`).
    split: test, or dev to choose the values of a recipe on.
    data_root: the folder that holds the data folder of the task.
    work: folder of finished runs and unfinished students; the same call reuses them.
    cache: folder of cached teacher vectors.

    Raises `OptionError` for recipes, a task or data that cannot be used, and `TrainingError` naming recipe and seed if
    the vectors of a student collapse.
    """
    if seeds < 1:
        raise OptionError(f"seeds is {seeds}; expected at least 1")
    root = default_cache() if cache is None else Path(cache)
    study = RecipeStudy(
        variants=read_entries(recipes),
        task=open_task(task, Path(data_root), split),
        seeds=range(seeds),
        work=root / "compare" if work is None else Path(work),
        cache=root,
    )
    runs = study.run()
    baseline, *others = study.variants
    return [result(study.task, (other, runs[other.name]), (baseline, runs[baseline.name])) for other in others]


@dataclass(kw_only=True)
class RecipeStudy(Study[RecipeEntry]):
    """Recipes x seeds on ``task``."""

    task: Task

    def key(self, variant: RecipeEntry, seed: int) -> str:
        """Return a hash of the recipe, its inputs and the task."""
        return variant.key(self.task.facts)

    def train_and_measure(self, variant: RecipeEntry, seed: int, student: Path) -> Run:
        """Train the recipe and score its student on every item of the task."""
        started = time.perf_counter()
        overrides = {"seed": seed, "out": student, "cache": self.cache, "export": False, "overwrite": True}
        # Compare the students after the last step, even if they are worse than their start.
        overrides["keep"] = "last"
        if self.task.held_out:
            overrides["valid"] = [self._held_out_file()]
        try:
            facts = distill(**(variant.arguments | overrides))
        except TrainingError as error:
            raise TrainingError(f"{variant.name}, seed {seed}: {error}") from error
        seconds = time.perf_counter() - started
        (trained,) = open_students(student, "torch", variant.arguments.get("device"))
        scores = self.task.score(trained.encoder, mapped(self._teacher(variant), trained.mapping))
        return {
            "recipe": variant.name,
            "seed": seed,
            "seconds": round(seconds, 2),
            "steps": facts.training["steps"] * facts.training["generations"],
            "teacher_calls": facts.training["data"]["asked"],
            "methods": facts.training.get("methods", []),
            "commit": commit(),
            "scores": scores.tolist(),
        }

    def _held_out_file(self) -> Path:
        """Write the held-out texts of the task as validation texts: distillation removes these from training."""
        file = self.work / f"held-out-{self.task.name}.jsonl"
        write_file(file, "".join(json.dumps({"text": text, "role": "query"}) + "\n" for text in self.task.held_out))
        return file

    def _teacher(self, variant: RecipeEntry) -> CachedEncoder:
        dtype = variant.arguments.get("store_dtype", "float16")
        return self.cached_teacher(f"{variant.arguments['teacher']} {dtype}", variant.open_teacher, dtype=dtype)
