"""Every variant with every seed: each result is on disk as soon as it is there, and is never computed again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.experiments.making import Job, make
from eval.experiments.measuring import MEAN, Bench, figures
from eval.experiments.pace import epochs_as_long
from eval.experiments.table import BASE, Choice, Table, Variant
from eval.experiments.texts import Chosen, choose
from leafkit.errors import OptionError, TrainingError
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.names import distinct_names
from leafkit.files.atomic import write_json
from leafkit.methods.registry import parse_method
from leafkit.teachers.open import open_teacher
from leafkit.vectors.cached import CachedEncoder, cached

log = logging.getLogger("leafkit")

Result = dict[str, Any]


@dataclass
class Runner:
    """The runs of ``table``: results and unfinished students below ``work``, teacher vectors below ``cache``."""

    table: Table
    work: Path
    cache: Path
    bench: Bench = field(init=False)
    _teachers: dict[str, CachedEncoder] = field(default_factory=dict)
    _texts: dict[Choice, Chosen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the collections; raises `InputError` for one that is not there."""
        for name in ("results", "students"):
            (self.work / name).mkdir(parents=True, exist_ok=True)
        measure = self.table.measure
        folders = [Path(folder) for folder in measure.data]
        names = distinct_names(folders, what="data folder")
        read = [read_collection(f, measure.split, name=name) for f, name in zip(folders, names, strict=True)]
        self.bench = Bench(collections=read, modes=measure.modes)

    def run(self, only: Sequence[str] = ()) -> dict[str, list[Result]]:
        """The results of every variant, or of the base and those of ``only``, by name and in the order of the seeds."""
        chosen = self._chosen(only)
        asked = [(variant, seed) for seed in self.table.seeds for variant in chosen]
        found: dict[str, list[Result]] = {variant.name: [] for variant in chosen}
        started, made = time.monotonic(), 0
        for number, (variant, seed) in enumerate(asked):
            result, new = self.result(variant, seed)
            found[variant.name].append(result)
            made += new
            if new:
                left = (time.monotonic() - started) / made * (len(asked) - number - 1)
                log.info("%d/%d %s; about %.0f min left", number + 1, len(asked), _said(result), left / 60)
        return found

    def result(self, variant: Variant, seed: int) -> tuple[Result, bool]:
        """What is known of one variant and seed, and whether it had to be computed."""
        if variant.kind == "model2vec" and seed != self.table.seeds[0]:
            # Nothing in it is left to chance.
            result, new = self.result(variant, self.table.seeds[0])
            return {**result, "seed": seed}, new
        job, base = self._job(variant, seed), self._job(self.table.variants[0], seed)
        file = self.work / "results" / f"{job.out.name}.json"
        if file.is_file():
            return json.loads(file.read_bytes()), False
        if variant.seconds == BASE:
            recipe = dataclasses.replace(job.recipe, epochs=epochs_as_long(job, base))
            job = dataclasses.replace(job, recipe=recipe)
        write_json(file, {"variant": variant.name, "seed": seed, **self._measured(job)})
        for left in job.out.parent.glob(f"*{job.out.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        return json.loads(file.read_bytes()), True

    def texts(self, variant: Variant) -> Chosen:
        """The texts of ``variant``."""
        if variant.texts not in self._texts:
            self._texts[variant.texts] = choose(variant.texts, self.work)
        return self._texts[variant.texts]

    def teacher(self, variant: Variant) -> CachedEncoder:
        """The teacher of ``variant``, opened once for all that share it."""
        key = f"{variant.teacher} {variant.teacher_options}"
        if key not in self._teachers:
            opened = open_teacher(variant.teacher, **dataclasses.asdict(variant.teacher_options))
            self._teachers[key] = cached(opened, self.cache)
        return self._teachers[key]

    def _chosen(self, only: Sequence[str]) -> list[Variant]:
        names = [variant.name for variant in self.table.variants]
        if unknown := [name for name in only if name not in names]:
            raise OptionError(f"the table has no variant {unknown[0]!r}; it has {', '.join(names)}")
        return [variant for variant in self.table.variants if not only or variant.name in (*only, BASE)]

    def _measured(self, job: Job) -> Result:
        try:
            made = make(job)
        except TrainingError as error:
            return {"failed": str(error), "recipe": dataclasses.asdict(job.recipe), "seconds": None, "figures": {}}
        return {
            "recipe": dataclasses.asdict(job.recipe),
            "seconds": made.seconds,
            "steps": made.steps,
            "parameters": made.parameters,
            "space": made.encoder.space.id,
            "figures": figures(made.encoder, job.teacher, job.texts.valid, self.bench),
            "curve": [dataclasses.asdict(validation) for validation in made.curve],
        }

    def _job(self, variant: Variant, seed: int) -> Job:
        """What is to be done; another table, text, teacher or collection gives another name."""
        texts, teacher = self.texts(variant), self.teacher(variant)
        recipe = dataclasses.replace(variant.recipe, seed=seed)
        everything = [
            variant.kind,
            variant.student,
            dataclasses.asdict(recipe),
            texts.identity,
            teacher.space.id,
            self.bench.identity,
            self._job(self.table.variants[0], seed).out.name if variant.seconds == BASE else None,
        ]
        if variant.feeds:
            everything.append([repr(parse_method(feed)) for feed in variant.feeds])
        key = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:8]
        out = self.work / "students" / f"{variant.name}-seed{seed}-{key}"
        return Job(variant=variant, recipe=recipe, texts=texts, teacher=teacher, cache=self.cache, out=out)


def _said(result: Result) -> str:
    said = [f"{result['variant']} seed {result['seed']}"]
    if "failed" in result:
        return f"{said[0]} failed: {result['failed']}"
    shown = {name: value for name, value in result["figures"].items() if name.split()[-1] in ("cosine", MEAN)}
    said += [f"{name} {value:.4f}" for name, value in shown.items()]
    return ", ".join([*said, f"{result['seconds']:.0f} s"])
