"""A table of variants as a study: what identifies a run, and how a run is made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from eval.studies.equal_time import epochs_in_equal_time
from eval.studies.figures import MEAN, Benchmark, measure_student
from eval.studies.table import BASE, StudyTable, TextSelection, Variant
from eval.studies.texts import StudyTexts, select_texts
from eval.studies.trainers import TrainingJob, train_student
from leafkit.errors import OptionError, TrainingError
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.compare.study import Run, Study
from leafkit.evaluation.folder_names import distinct_names
from leafkit.methods.registry import parse_method
from leafkit.teachers.open import open_teacher
from leafkit.vectors.cached import CachedEncoder


@dataclass(kw_only=True)
class TableStudy(Study[Variant]):
    """The variants of a table x its seeds, each measured on ``benchmark``."""

    benchmark: Benchmark
    _texts: dict[TextSelection, StudyTexts] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, table: StudyTable, *, work: Path, cache: Path) -> TableStudy:
        """Read the collections of ``table``. Raise `InputError` if one is missing."""
        folders = [Path(folder) for folder in table.measure.data]
        names = distinct_names(folders, what="data folder")
        split = table.measure.split
        collections = [read_collection(f, split, name=name) for f, name in zip(folders, names, strict=True)]
        benchmark = Benchmark(collections=collections, modes=table.measure.modes)
        return cls(variants=table.variants, seeds=table.seeds, work=work, cache=cache, benchmark=benchmark)

    def chosen(self, only: Sequence[str]) -> list[Variant]:
        """Return the base and the variants named in ``only``, or all variants if ``only`` is empty."""
        names = [variant.name for variant in self.variants]
        if unknown := [name for name in only if name not in names]:
            raise OptionError(f"the table has no variant {unknown[0]!r}; expected one of {', '.join(names)}.")
        return [variant for variant in self.variants if not only or variant.name in (*only, BASE)]

    def texts(self, variant: Variant) -> StudyTexts:
        """Return the texts of ``variant``, after writing them below ``work``."""
        if variant.texts not in self._texts:
            self.work.mkdir(parents=True, exist_ok=True)
            self._texts[variant.texts] = select_texts(variant.texts, self.work)
        return self._texts[variant.texts]

    def teacher(self, variant: Variant) -> CachedEncoder:
        """Return the teacher of ``variant`` behind its vector store."""
        opener = partial(open_teacher, variant.teacher, **dataclasses.asdict(variant.teacher_options))
        return self.cached_teacher(f"{variant.teacher} {variant.teacher_options}", opener)

    def seed_used(self, variant: Variant, seed: int) -> int:
        """Return the first seed for model2vec, which uses no randomness."""
        return self.seeds[0] if variant.kind == "model2vec" else seed

    def key(self, variant: Variant, seed: int) -> str:
        """Return a hash of the recipe, texts, teacher and data, and of the base if its time decides the epochs."""
        inputs = [
            variant.kind,
            variant.student,
            dataclasses.asdict(dataclasses.replace(variant.recipe, seed=seed)),
            self.texts(variant).identity,
            self.teacher(variant).space.id,
            self.benchmark.identity,
            self.run_name(self.variants[0], seed) if variant.seconds == BASE else None,
        ]
        if variant.feeds:
            inputs.append([repr(parse_method(feed)) for feed in variant.feeds])
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:8]

    def train_and_measure(self, variant: Variant, seed: int, student: Path) -> Run:
        """Train ``variant`` and measure its student. A collapsed training is a result, with the error as ``failed``."""
        job = self._job(variant, seed, student)
        if variant.seconds == BASE:
            epochs = epochs_in_equal_time(job, self._job(self.variants[0], seed, student))
            job = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, epochs=epochs))
        run = {"variant": variant.name, "seed": seed}
        try:
            trained = train_student(job)
        except TrainingError as error:
            failed = {"failed": str(error), "recipe": dataclasses.asdict(job.recipe)}
            return run | failed | {"seconds": None, "figures": {}}
        return run | {
            "recipe": dataclasses.asdict(job.recipe),
            "seconds": trained.seconds,
            "steps": trained.steps,
            "parameters": trained.parameters,
            "space": trained.encoder.space.id,
            "figures": measure_student(trained.encoder, job.teacher, job.texts.valid, self.benchmark),
            "curve": [dataclasses.asdict(validation) for validation in trained.curve],
        }

    def log_line(self, run: Run) -> str:
        """Return the seed with the main figures, or with the error of a collapsed training."""
        if "failed" in run:
            return f"seed {run['seed']} failed: {run['failed']}"
        main = {name: value for name, value in run["figures"].items() if name.split()[-1] in ("cosine", MEAN)}
        figures = [f"{name} {value:.4f}" for name, value in main.items()]
        return ", ".join([f"seed {run['seed']}", *figures, f"{run['seconds']:.0f} s"])

    def _job(self, variant: Variant, seed: int, student: Path) -> TrainingJob:
        recipe = dataclasses.replace(variant.recipe, seed=seed)
        texts, teacher = self.texts(variant), self.teacher(variant)
        return TrainingJob(variant=variant, recipe=recipe, texts=texts, teacher=teacher, cache=self.cache, out=student)
