"""Every recipe with every seed: the scores of a run are on disk as soon as they are there, and are then reused."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leafkit.errors import OptionError, TrainingError
from leafkit.evaluation.compare.recipes import Entry, read_entries
from leafkit.evaluation.compare.report import Result, Run, result
from leafkit.evaluation.compare.tasks import Task, open_task
from leafkit.evaluation.provenance import commit
from leafkit.evaluation.students import open_students
from leafkit.files.atomic import explain_disk_errors, write_file, write_json
from leafkit.files.lock import exclusive_lock
from leafkit.files.progress import progress
from leafkit.teachers.open import open_teacher
from leafkit.training.distill import distill
from leafkit.types import Teacher
from leafkit.vectors.cached import CachedEncoder, cached
from leafkit.vectors.mapping import map_teacher
from leafkit.vectors.store import default_cache

_log = logging.getLogger("leafkit")


def compare(
    recipes: Sequence[str | Path],
    *,
    task: str = "retrieval",
    seeds: int = 5,
    split: str = "test",
    data_root: Path = Path("../shared/data/bench"),
    work: Path | None = None,
    cache: Path | None = None,
) -> list[Result]:
    """The result of each recipe but the first, which is the baseline; seeds are 0 to ``seeds`` less one.

    task: retrieval, similarity or classes (`leafkit.evaluation.compare.tasks`), with its folder in ``data_root``.
    split: test, or dev to choose a recipe's values on.
    work: where scores of finished runs and unfinished students are kept; the same call goes on where it was.
    cache: where teacher vectors are kept.

    Raises `OptionError` for what cannot be run, `TrainingError` naming recipe and seed for a run that collapsed.
    """
    if seeds < 1:
        raise OptionError(f"seeds is {seeds}; wanted 1 or more")
    root = default_cache() if cache is None else Path(cache)
    runner = Runner(
        entries=read_entries(recipes),
        task=open_task(task, Path(data_root), split),
        seeds=range(seeds),
        work=root / "compare" if work is None else Path(work),
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
        with exclusive_lock(self.work / "locks" / self._name(entry, seed)):
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
        changed = {"seed": seed, "out": out, "cache": self.cache, "export": False, "overwrite": True}
        # What the training came to is asked, also where it is worse than the start.
        changed["keep"] = "last"
        if self.task.held_out:
            changed["valid"] = [self._held_out()]
        try:
            facts = distill(**(entry.arguments | changed))
        except TrainingError as error:
            raise TrainingError(f"{entry.name}, seed {seed}: {error}") from error
        seconds = time.perf_counter() - started
        (student,) = open_students(out, "torch", entry.arguments.get("device"))
        teacher = map_teacher(self._teacher(entry), student.mapping)
        scores = self.task.score(student.encoder, teacher)
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

    def _teacher(self, entry: Entry) -> Teacher:
        """The teacher of ``entry`` behind its store, opened once for all recipes that open it in the same way."""
        given = entry.arguments["teacher"]
        how = f"{given} {entry.arguments.get('store_dtype')}"
        if how not in self._teachers:
            opened = open_teacher(given() if callable(given) else given)
            self._teachers[how] = cached(opened, self.cache, dtype=entry.arguments.get("store_dtype", "float16"))
        return self._teachers[how]
