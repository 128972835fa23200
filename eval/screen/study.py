"""One training of the screen as a run: which options it has, what identifies it, and what its file keeps."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.method_code import hash_of_code, method_files
from eval.screen.benchmark import TEST, Benchmark, read_benchmark
from eval.screen.figures import MAIN, NDCG, measure
from eval.screen.log import LOG
from eval.screen.starts import kept_starts
from eval.screen.systems import LEAF, STUDENTS, System
from eval.screen.texts import HELD_OUT, ScreenTexts, TextSet
from leafkit.errors import TrainingError
from leafkit.evaluation.compare.study import Run, Study
from leafkit.evaluation.provenance import commit
from leafkit.methods.registry import method_class
from leafkit.students.encoder import open_student
from leafkit.students.folder import StudentFacts
from leafkit.teachers.open import open_teacher
from leafkit.teachers.sentence_transformer import set_compute
from leafkit.training.distill import distill
from leafkit.vectors.cached import CachedEncoder

BATCH = 32
_NEVER = 1_000_000
"""More steps than any training: students are validated at the start and at the end alone."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One cell of the screen before it has a seed: a system at one dose, for one kind of student, on one text set.

    ``options`` are the options of `leafkit.distill` that differ from plain LEAF, methods included.
    """

    system: str
    student: str
    texts: str
    dose: float | None
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the arm in file names."""
        dose = "" if self.dose is None else f"-{self.dose:g}"
        return f"{self.student}-{self.texts}-{self.system}{dose}"

    @property
    def specs(self) -> list[str]:
        """The specs of all methods of the arm, as `leafkit distill` takes them."""
        searched = [self.options["architecture"]] if "architecture" in self.options else []
        return [
            *(spec for option in ("methods", "feeds", "writers") for spec in self.options.get(option, ())),
            *searched,
        ]


def make_arm(
    system: System, student: str, *, texts: str, dose: float | None = None, weight: float | None = None
) -> Arm:
    """Return the arm of ``system`` at ``dose``; a pull is given with the ``weight`` that it stands for."""
    options = dict(system.recipe)
    if system.method:
        values = system.values(student)
        if weight is not None:
            values["weight"] = weight
        elif dose is not None:
            values[system.dose] = dose
        if system.epochs_times_dose and dose:
            options["epochs"] = system.epochs_times_dose / dose
        options |= method_options(system.method, values, alone=system.alone)
    return Arm(system=system.name, student=student, texts=texts, dose=dose, options=options)


def method_options(method: str, values: Mapping[str, Any], *, alone: bool = False) -> dict[str, list[str] | str]:
    """Return the options of `leafkit.distill` that add ``method`` with the given fields to LEAF, or use it alone."""
    words = [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()]
    spec = method + (":" + ",".join(words) if words else "")
    option = method_class(method).option
    if option == "architecture":
        return {option: spec}
    return {option: [LEAF, spec] if option == "methods" and not alone else [spec]}


def remove_training(student: Path) -> None:
    """Remove the folder ``student`` and what an interrupted training has left beside it."""
    for leftover in student.parent.glob(f"*{student.name}*"):
        shutil.rmtree(leftover, ignore_errors=True)


@dataclass(kw_only=True)
class ScreenStudy(Study[Arm]):
    """Arms x seeds. ``teacher_name`` is opened as `leafkit.open_teacher` does; ``texts`` are the text sets."""

    texts: ScreenTexts
    teacher_name: str
    _benchmark: Benchmark | None = field(default=None, init=False, repr=False)
    _sets: dict[str, TextSet] = field(default_factory=dict, init=False, repr=False)

    @property
    def benchmark(self) -> Benchmark:
        """The test data, read when they are first needed."""
        if self._benchmark is None:
            self._benchmark = read_benchmark(self.texts)
        return self._benchmark

    @property
    def teacher(self) -> CachedEncoder:
        """The teacher behind its vector store."""
        return self.cached_teacher(self.teacher_name, lambda: open_teacher(self.teacher_name))

    def text_set(self, name: str) -> TextSet:
        """Return the text set ``name``, written once."""
        if name not in self._sets:
            self._sets[name] = self.texts.open(name)
        return self._sets[name]

    def measure(self, arms: Sequence[Arm], seeds: Sequence[int]) -> dict[str, list[Run]]:
        """Make the missing runs of ``arms`` with ``seeds`` and return those of each arm by name."""
        self.seeds = seeds
        return self.run(arms)

    def found(self, arm: Arm, seeds: Sequence[int]) -> list[Run] | None:
        """Return the finished runs of ``arm``, or None if one of the seeds is missing; trains nothing."""
        files = [self.work / "runs" / f"{self.run_name(arm, seed)}.json" for seed in seeds]
        if not all(file.is_file() for file in files):
            return None
        return [json.loads(file.read_bytes()) for file in files]

    def key(self, variant: Arm, seed: int) -> str:
        """Return a hash of everything that decides the result: options, texts, teacher, data and the methods' code."""
        inputs = [
            STUDENTS[variant.student],
            dict(variant.options),
            self.text_set(variant.texts).sha256,
            self.teacher.space.id,
            self.benchmark.identity,
            {spec: hash_of_code(method_files(spec.partition(":")[0])) for spec in variant.specs},
        ]
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:10]

    def options_of(self, variant: Arm, seed: int) -> dict[str, Any]:
        """Return the options of `leafkit.distill` for a training of ``variant``, without the teacher and the output."""
        return {
            "texts": str(self.text_set(variant.texts).file),
            "valid": [str(self.texts.held_out(HELD_OUT))],
            **STUDENTS[variant.student],
            "epochs": 1,
            "batch_size": BATCH,
            "seed": seed,
            # Students are compared after the last step, even if they are worse than their start.
            "keep": "last",
            "valid_every": _NEVER,
            "export": False,
            **variant.options,
        }

    def train_and_measure(self, variant: Arm, seed: int, student: Path) -> Run:
        """Train and measure one student. A collapsed training is a result, with the error as ``failed``."""
        remove_training(student)
        facts = {
            "arm": variant.name,
            "system": variant.system,
            "student": variant.student,
            "texts": variant.texts,
            "dose": variant.dose,
            "options": dict(variant.options),
            "seed": seed,
            "commit": commit(),
        }
        # Processor time, because the clock depends on what else the machine does. The start is the same for all arms.
        started, clock = time.process_time(), time.perf_counter()
        try:
            trained, start = self.distill(variant, seed, student)
        except TrainingError as error:
            return facts | {"failed": str(error), "seconds": 0.0, "scores": {}}
        seconds, elapsed = time.process_time() - started, time.perf_counter() - clock
        measured = time.process_time()
        encoder = open_student(student, device="cpu")
        set_compute(encoder.model, "auto", label=variant.name)
        scores = measure(encoder, self.teacher, self.benchmark)
        training = trained.training
        run = facts | {
            "seconds": round(seconds - start, 2),
            "elapsed": round(elapsed, 2),
            "measuring": round(time.process_time() - measured, 2),
            "steps": training["steps"] * training.get("generations", 1),
            "teacher_calls": training["data"]["asked"],
            "methods": training.get("methods", []),
            "scores": scores,
        }
        LOG.info("%s, %s", variant.name, self.log_line(run))
        return run

    def distill(self, variant: Arm, seed: int, out: Path) -> tuple[StudentFacts, float]:
        """Train ``variant`` in the folder ``out``; return the student and the seconds that were spent on its start."""
        inputs = [self.text_set(variant.texts).sha256, self.teacher.space.id]
        options, teacher = self.options_of(variant, seed), self.teacher.teacher
        with kept_starts(self.work / "starts", inputs) as spent:
            facts = distill(teacher=teacher, out=out, cache=self.cache, **options)
        return facts, sum(spent)

    def log_line(self, run: Run) -> str:
        """Return the seed with the main figure and the seconds, or with the error of a collapsed training."""
        if "failed" in run:
            return f"seed {run['seed']} failed: {run['failed']}"
        parts = [values[TEST] for name, values in run["scores"].items() if name.startswith(NDCG)]
        main = sum(sum(values) / len(values) for values in parts) / len(parts)
        seconds = f"{run['seconds']:.0f} + {run['measuring']:.0f} s"
        return f"seed {run['seed']}: {MAIN} {main:.4f}, {seconds}"
