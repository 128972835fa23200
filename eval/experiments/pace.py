"""How many epochs a variant does in the time that the base takes: from short trials of both, one after the other."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from eval.experiments.making import Job, train
from leafkit.errors import OptionError
from leafkit.files.atomic import write_json
from leafkit.training.batches import steps_per_epoch

WARM, STEPS = 10, 30


def epochs_as_long(job: Job, base: Job) -> float:
    """The epochs that ``job`` trains in the time of ``base``, by steps 11 to 30 of a trial of each.

    Trials beside each other, since the load of a machine changes: their ratio does not. The answer is kept beside
    the student: a run that is killed and repeated goes on with the same.
    """
    if job.variant.kind != "distill":
        raise OptionError(f"{job.variant.name}: seconds are for leafkit's own training; give epochs")
    kept = job.out.with_name(f"{job.out.name}-pace.json")
    if not kept.is_file():
        base_step, step = (_seconds_a_step(one, job.out.with_name(f"{job.out.name}-trial")) for one in (base, job))
        steps = base.recipe.steps(_texts(base)) * base_step / step
        # Half a step less: steps are rounded up.
        write_json(kept, {"epochs": (max(1, round(steps)) - 0.5) / _an_epoch(job)})
    return float(json.loads(kept.read_bytes())["epochs"])


def _seconds_a_step(job: Job, out: Path) -> float:
    # The pace does not depend on what is learnt: next to nothing, so that no random head collapses.
    still = {"head": "random", "learning_rate": 1e-9, "final_learning_rate": 1e-9}
    epochs = (STEPS - 0.5) / _an_epoch(job)
    recipe = dataclasses.replace(job.recipe, epochs=epochs, cycles=1, valid_every=WARM, **still)
    for unfinished in (out, out.with_name(f".{out.name}.run")):
        shutil.rmtree(unfinished, ignore_errors=True)
    clock = {entry["step"]: entry["seconds"] for entry in train(job, recipe, out).training["history"]}
    shutil.rmtree(out)
    return (clock[STEPS] - clock[WARM]) / (STEPS - WARM)


def _an_epoch(job: Job) -> int:
    return steps_per_epoch(_texts(job), job.recipe.batch_size)


def _texts(job: Job) -> int:
    facts = job.texts.facts["train"]
    return facts.get("query", 0) + facts.get("document", 0)
