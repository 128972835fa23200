"""How many epochs a variant does in so many seconds: from the rate of a short trial, so that times are equal."""

from __future__ import annotations

import dataclasses
import json
import shutil

from leafkit.atomic import write_json
from leafkit.errors import OptionError
from leafkit.training.batches import steps_per_epoch

from .making import Job, train

WARM, STEPS = 10, 30


def epochs_in(seconds: float, job: Job) -> float:
    """The epochs that ``job`` trains in ``seconds``, by steps 11 to 30 of a trial of its own.

    The answer is kept beside the student: a run that is killed and repeated goes on with the same.
    """
    if job.variant.kind != "distill":
        raise OptionError(f"{job.variant.name}: seconds are for leafkit's own training; give epochs")
    kept = job.out.with_name(f"{job.out.name}-pace.json")
    if not kept.is_file():
        write_json(kept, {"epochs": _tried(seconds, job)})
    return float(json.loads(kept.read_bytes())["epochs"])


def _tried(seconds: float, job: Job) -> float:
    texts = job.texts.facts["train"]
    an_epoch = steps_per_epoch(texts.get("query", 0) + texts.get("document", 0), job.recipe.batch_size)
    # The pace does not depend on what is learnt: next to nothing, so that no random head collapses.
    still = {"head": "random", "learning_rate": 1e-9, "final_learning_rate": 1e-9}
    recipe = dataclasses.replace(job.recipe, epochs=STEPS / an_epoch, cycles=1, valid_every=WARM, **still)
    out = job.out.with_name(f"{job.out.name}-trial")
    clock = {entry["step"]: entry["seconds"] for entry in train(job, recipe, out).training["history"]}
    shutil.rmtree(out)
    last = max(clock)
    a_step = (clock[last] - clock[WARM]) / (last - WARM)
    return max(1, round(seconds / a_step)) / an_epoch
