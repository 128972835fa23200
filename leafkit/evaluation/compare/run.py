"""Compare recipes on a task: train each once per seed, then measure every student."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError, TrainingError
from leafkit.evaluation.compare.options import ComparisonOptions
from leafkit.evaluation.compare.recipes import RecipeEntry, read_entries
from leafkit.evaluation.compare.report import Result, result
from leafkit.evaluation.compare.study import Run, Study
from leafkit.evaluation.compare.tasks import Task, open_task
from leafkit.evaluation.provenance import commit
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import write_file
from leafkit.files.options import CacheOptions
from leafkit.options import options_of, takes, without
from leafkit.teachers.options import TeacherOptions
from leafkit.training.distill import distill
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.mapping import map_teacher
from leafkit.vectors.store import default_cache


@takes(ComparisonOptions, CacheOptions)
def compare(recipes: Sequence[str | Path], **options: Any) -> list[Result]:
    """Train every recipe once per seed and return the result of each but the first, the baseline.

    An interrupted call continues where it stopped when it is repeated.

    Raises `OptionError` for recipes, a task or data that cannot be used, and `TrainingError` naming recipe and seed if
    the vectors of a student collapse.
    """
    asked, cache = options_of(ComparisonOptions, options), options_of(CacheOptions, options).cache
    if asked.data_root is None:
        raise OptionError("data_root is missing. Name the folder that contains the data folder of the task.")
    root = cache or default_cache()
    study = RecipeStudy(
        variants=read_entries(recipes),
        task=open_task(asked.task, asked.data_root, asked.split),
        seeds=range(asked.seeds),
        work=asked.work or root / "compare",
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
        teacher = self._teacher(variant)
        overrides = {"teacher": teacher.teacher, "seed": seed, "out": student, "cache": self.cache, "export": False}
        overrides["overwrite"] = True
        # Compare the students after the last step, even if they are worse than their start.
        overrides["keep"] = "last"
        if self.task.held_out:
            overrides["valid"] = [self._held_out_file()]
        try:
            facts = distill(**(without(TeacherOptions, variant.arguments) | overrides))
        except TrainingError as error:
            raise TrainingError(f"{variant.name}, seed {seed}: {error}") from error
        seconds = time.perf_counter() - started
        (trained,) = open_students(student, "torch", variant.arguments.get("device"))
        scores = self.task.score(trained.encoder, map_teacher(teacher, trained.mapping))
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
        key = f"{variant.arguments['teacher']} {variant.opening} {dtype}"
        return self.cached_teacher(key, variant.open_teacher, dtype=dtype)
