"""The epochs that a variant can train in the training time of the base, estimated from short trials of both."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from eval.studies.trainers import TrainingJob, train_with_leafkit
from leafkit.errors import OptionError
from leafkit.files.atomic import write_json
from leafkit.training.batches import steps_per_epoch

WARMUP_STEPS, STEPS = 10, 30


def epochs_in_equal_time(job: TrainingJob, base: TrainingJob) -> float:
    """Return the epochs that ``job`` trains in the time of ``base``, from steps 11 to 30 of a trial of each.

    The trials run one after the other because the load of a machine changes, but the ratio of the two does not. The
    answer is written next to the student, so that a run that is stopped and repeated uses the same epochs.
    """
    if job.variant.kind != "distill":
        raise OptionError(f"{job.variant.name}: seconds works only with kind = 'distill'. Give epochs instead.")
    saved = job.out.with_name(f"{job.out.name}-pace.json")
    if not saved.is_file():
        trial = job.out.with_name(f"{job.out.name}-trial")
        base_step, step = (_seconds_per_step(one, trial) for one in (base, job))
        steps = base.recipe.steps(base.texts.count) * base_step / step
        # Half a step less, because the number of steps is rounded up.
        write_json(saved, {"epochs": (max(1, round(steps)) - 0.5) / _steps_per_epoch(job)})
    return float(json.loads(saved.read_bytes())["epochs"])


def _seconds_per_step(job: TrainingJob, out: Path) -> float:
    # The time of a step does not depend on what is learnt. A rate near 0 keeps a random head from collapsing.
    frozen = {"head": "random", "learning_rate": 1e-9, "final_learning_rate": 1e-9}
    epochs = (STEPS - 0.5) / _steps_per_epoch(job)
    recipe = dataclasses.replace(job.recipe, epochs=epochs, cycles=1, valid_every=WARMUP_STEPS, **frozen)
    for unfinished in (out, out.with_name(f".{out.name}.run")):
        shutil.rmtree(unfinished, ignore_errors=True)
    history = train_with_leafkit(job, recipe, out).training["history"]
    seconds = {entry["step"]: entry["seconds"] for entry in history}
    shutil.rmtree(out)
    return (seconds[STEPS] - seconds[WARMUP_STEPS]) / (STEPS - WARMUP_STEPS)


def _steps_per_epoch(job: TrainingJob) -> int:
    return steps_per_epoch(job.texts.count, job.recipe.batch_size)
