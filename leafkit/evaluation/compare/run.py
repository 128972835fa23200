"""Every recipe with every seed: the scores of a run are on disk as soon as they are there, and are then reused."""

from __future__ import annotations

import fcntl
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leafkit.errors import TrainingError
from leafkit.evaluation.compare.options import ComparisonOptions
from leafkit.evaluation.compare.recipes import Entry, read_entries
from leafkit.evaluation.compare.report import Result, Run, result
from leafkit.evaluation.compare.tasks import Task, open_task
from leafkit.evaluation.provenance import commit
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import explain_disk_errors, write_file, write_json
from leafkit.files.options import CacheOptions
from leafkit.files.progress import progress
from leafkit.options import options_of, takes, without
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.training.distill import distill
from leafkit.vectors.cached import CachedEncoder, cached
from leafkit.vectors.mapping import map_teacher
from leafkit.vectors.store import default_cache

_log = logging.getLogger("leafkit")


@takes(ComparisonOptions, CacheOptions)
def compare(recipes: Sequence[str | Path], **options: Any) -> list[Result]:
    """Train every recipe once per seed and compare each with the first one, the baseline.

    An interrupted call continues where it stopped when it is repeated. Raises `OptionError` for recipes that cannot be
    compared, and `TrainingError` naming recipe and seed for a training that collapsed.
    """
    asked, cache = options_of(ComparisonOptions, options), options_of(CacheOptions, options).cache
    root = cache or default_cache()
    runner = Runner(
        entries=read_entries(recipes),
        task=open_task(asked.task, asked.data_root, asked.split),
        seeds=range(asked.seeds),
        work=asked.work or root / "compare",
        cache=root,
    )
    found = runner.run()
    baseline, *others = runner.entries
    return [result(runner.task, (other, found[other.name]), (baseline, found[baseline.name])) for other in others]


@dataclass
class Runner:
    """The runs of ``entries`` on ``task``: finished ones and unfinished students below ``work``."""

    entries: Sequence[Entry]
    task: Task
    seeds: Sequence[int]
    work: Path
    cache: Path
    _teachers: dict[str, CachedEncoder] = field(default_factory=dict)

    def run(self) -> dict[str, list[Run]]:
        """The runs of each recipe by its name, in the order of the seeds."""
        with explain_disk_errors(self.work):
            for name in ("runs", "students", "locks"):
                (self.work / name).mkdir(parents=True, exist_ok=True)
        asked = [(entry, seed) for seed in self.seeds for entry in self.entries]
        missing = [(entry, seed) for entry, seed in asked if not self._file(entry, seed).is_file()]
        with progress("compare", total=len(asked), unit="runs", done=len(asked) - len(missing)) as bar:
            for entry, seed in missing:
                self._make(entry, seed)
                bar.update(1)
        return {
            entry.name: [json.loads(self._file(entry, seed).read_bytes()) for seed in self.seeds]
            for entry in self.entries
        }

    def _make(self, entry: Entry, seed: int) -> None:
        """Have the run on disk; where another process is at it, as at a baseline that both need, wait for that one."""
        with open(self.work / "locks" / self._name(entry, seed), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._file(entry, seed).is_file():
                run = self._made(entry, seed)
                write_json(self._file(entry, seed), run)
                _log.info("%s, seed %d: %.0f s", entry.name, seed, run["seconds"])

    def _file(self, entry: Entry, seed: int) -> Path:
        return self.work / "runs" / f"{self._name(entry, seed)}.json"

    def _name(self, entry: Entry, seed: int) -> str:
        return f"{entry.name}-seed{seed}-{entry.key(self.task.facts)}"

    def _made(self, entry: Entry, seed: int) -> Run:
        out = self.work / "students" / self._name(entry, seed)
        started = time.perf_counter()
        teacher = self._teacher(entry)
        changed = {"teacher": teacher.teacher, "seed": seed, "out": out, "cache": self.cache, "export": False}
        changed["overwrite"] = True
        # What the training came to is asked, also where it is worse than the start.
        changed["keep"] = "last"
        if self.task.held_out:
            changed["valid"] = [self._held_out()]
        try:
            facts = distill(**(without(TeacherOptions, entry.arguments) | changed))
        except TrainingError as error:
            raise TrainingError(f"{entry.name}, seed {seed}: {error}") from error
        seconds = time.perf_counter() - started
        (student,) = open_students(out, "torch", entry.arguments.get("device"))
        scores = self.task.score(student.encoder, map_teacher(teacher, student.mapping))
        shutil.rmtree(out)
        return {
            "recipe": entry.name,
            "seed": seed,
            "seconds": round(seconds, 2),
            "steps": facts.training["steps"] * facts.training["generations"],
            "teacher_calls": facts.training["data"]["asked"],
            "methods": facts.training.get("methods", []),
            "commit": commit(),
            "scores": scores.tolist(),
        }

    def _held_out(self) -> Path:
        """The task's held-out texts in a file, as texts to validate with, which distillation takes out of its own."""
        file = self.work / f"held-out-{self.task.name}.jsonl"
        write_file(file, "".join(json.dumps({"text": text, "role": "query"}) + "\n" for text in self.task.held_out))
        return file

    def _teacher(self, entry: Entry) -> CachedEncoder:
        """The teacher of ``entry`` behind its store, opened once for all recipes that open it in the same way."""
        given, opening = entry.arguments["teacher"], options_of(TeacherOptions, entry.arguments)
        how = f"{given} {opening} {entry.arguments.get('store_dtype')}"
        if how not in self._teachers:
            opened = open_with(given, opening)
            self._teachers[how] = cached(opened, self.cache, dtype=entry.arguments.get("store_dtype", "float16"))
        return self._teachers[how]
