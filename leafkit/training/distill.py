"""leafkit.distill: from texts and a teacher to a student folder."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.errors import OptionError
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.options import MethodOptions
from leafkit.methods.plan import make_plan
from leafkit.options import options_of, takes
from leafkit.students.folder import StudentFacts
from leafkit.teachers.open import local_teacher, own_texts
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.texts.table import Sources
from leafkit.training.processes import start_accelerator
from leafkit.training.recipe import Recipe, RunOptions
from leafkit.training.recipe_file import DISTILL_OPTIONS
from leafkit.training.run import Run
from leafkit.training.run_folder import RunFolder
from leafkit.training.source import open_for_student
from leafkit.training.stages import follow, lead
from leafkit.types import Teacher


@takes(*DISTILL_OPTIONS)
def distill(
    texts: Sources | None,
    teacher: str | Path | Teacher,
    student: str | None,
    out: str | PathLike[str],
    **options: Any,
) -> StudentFacts:
    """Train ``student`` to write the vectors of ``teacher``, and write it into the folder ``out``.

    texts: files or folders as `leafkit.read_texts` takes them. Queries and documents each get their role's prompt. None
        takes the teacher's own texts, if it is a vectors file or an engine.
    teacher: anything that `leafkit.open_teacher` takes, or an open teacher. Only the main process opens a teacher by
        name, and releases it before training. If a method needs the teacher in each step, it stays: its weights are
        then frozen and in float32, also those of an open teacher.
    student: a model, some of its layers, a config or a token table (`leafkit.students.spec` lists the forms). None if
        an ``architecture`` search finds the student.

    An interrupted call continues where it stopped when it is repeated, with the same result as if it had not been
    interrupted. Under torchrun or accelerate launch the processes share each batch; all must see the same disk.
    Raises `OptionError` for options that are out of range or exclude each other, `TextError` for texts that cannot be
    read or are too few, `OutputError` if ``out`` exists, `TrainingError` if the student collapses, and `ExportError` if
    the ONNX files do not agree with the student (which is kept).
    """
    chosen, reading = options_of(MethodOptions, options), options_of(TextOptions, options)
    recipe, running = options_of(Recipe, options), options_of(RunOptions, options)
    opening = options_of(TeacherOptions, options)
    if chosen.methods and recipe.objective != Recipe.objective:
        raise OptionError(
            f"objective={recipe.objective} applies to LEAF alone, but methods are given. Write "
            f"leaf:distance={recipe.objective} among the methods instead."
        )
    plan = make_plan(chosen.methods or [Leaf(distance=recipe.objective)], chosen.feeds or (), chosen.writers or ())
    accelerator = start_accelerator()
    if accelerator.num_processes > 1 and not plan.is_plain_leaf:
        raise OptionError(
            f"{', '.join(plan.specs)} can train in one process only, but a launcher started "
            f"{accelerator.num_processes} processes. Start leafkit without a launcher."
        )
    device = opening.device or str(accelerator.device)
    run = Run(
        student=student,
        architecture=chosen.architecture,
        budget=chosen.budget,
        plan=plan,
        recipe=recipe.on(device),
        options=running,
        out=Path(out),
        folder=RunFolder.of_output(Path(out)),
        accelerator=accelerator,
        device=device,
    )
    if accelerator.is_main_process:
        if isinstance(teacher, str | Path):
            teacher = local_teacher(teacher)
        if texts is None:
            texts = own_texts(teacher)
        return lead(run, texts, reading, lambda: open_for_student(teacher, replace(opening, device=device), student))
    return follow(run)
