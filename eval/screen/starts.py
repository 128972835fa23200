"""The start of a training is the same for all arms with the same texts, student and seed, so it is built once.

The start is the untrained student with its closed-form head or token table. A run folder keeps its start, so that an
interrupted training need not build it again; here a finished one is put into the folder of a new run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from leafkit.files.atomic import write_json
from leafkit.methods.method import Feed, Writer
from leafkit.training import stages
from leafkit.training.run import Run

Build = Callable[..., None]


@contextlib.contextmanager
def kept_starts(folder: Path, inputs: Any) -> Iterator[list[float]]:
    """Keep the starts of all trainings in the block below ``folder``, and use those that are there.

    ``inputs`` is everything that decides a start beside the options of the run: texts and teacher. Yield a list that
    receives the seconds of processor time that each training spent on its start.
    """
    original: Build = stages.build_start
    spent: list[float] = []

    def build(run: Run, *others: Any) -> None:
        place = folder / start_key(run, inputs)
        kept = place.with_suffix(".json")
        started = time.process_time()
        if kept.is_file():
            shutil.copytree(place, run.folder.start)
        original(run, *others)
        if not kept.is_file():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(run.folder.start, place)
            write_json(kept, {"student": run.student, "options": run.plan.specs, "seed": run.recipe.seed})
        spent.append(time.process_time() - started)

    stages.build_start = build
    try:
        yield spent
    finally:
        stages.build_start = original


def start_key(run: Run, inputs: Any) -> str:
    """Return a hash of what decides a start.

    A searched student has its own, and so has the student of a method that limits its texts, or writes them.
    """
    recipe = run.recipe
    student = run.student or [str(run.architecture), run.budget]
    options = [recipe.head, recipe.head_bias, recipe.precision, recipe.training_length, recipe.rotate, recipe.seed]
    own = [spec for spec, method in zip(run.plan.specs, run.plan.methods, strict=True) if has_own_start(method)]
    described = json.dumps([student, options, own, inputs], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def has_own_start(method: Any) -> bool:
    """Return whether the start of a training depends on ``method``: it limits the first texts, or writes texts."""
    limited = isinstance(method, Feed) and type(method).start_rows is not Feed.start_rows
    return limited or isinstance(method, Writer)
