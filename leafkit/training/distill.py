"""leafkit.distill: from texts and a teacher to a student folder."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError
from leafkit.methods.objectives.leaf import Distance, Leaf
from leafkit.methods.plan import Specs, make_plan
from leafkit.methods.system import System
from leafkit.students.folder import StudentFacts
from leafkit.teachers.open import open_teacher
from leafkit.texts.table import Sources, TextOptions
from leafkit.training.processes import start_accelerator
from leafkit.training.recipe import Head, Keep, Optimiser, Precision, Recipe
from leafkit.training.run import Run, RunOptions
from leafkit.training.run_folder import RunFolder
from leafkit.training.stages import follow, lead
from leafkit.types import Teacher


def distill(
    texts: Sources,
    teacher: str | Path | Teacher | Callable[[], Teacher],
    student: str | None,
    out: str | PathLike[str],
    *,
    methods: Specs | None = None,
    feeds: Specs | None = None,
    architecture: str | System | None = None,
    budget: str | None = None,
    objective: Distance = Recipe.objective,
    optimiser: Optimiser = Recipe.optimiser,
    epochs: float = Recipe.epochs,
    cycles: int = Recipe.cycles,
    learning_rate: float = Recipe.learning_rate,
    final_learning_rate: float = Recipe.final_learning_rate,
    warmup: float = Recipe.warmup,
    weight_decay: float = Recipe.weight_decay,
    batch_size: int = Recipe.batch_size,
    training_length: int | None = Recipe.training_length,
    head: Head = Recipe.head,
    head_bias: bool = Recipe.head_bias,
    precision: Precision = Recipe.precision,
    valid: Sources | None = None,
    valid_every: int | None = Recipe.valid_every,
    keep: Keep = Recipe.keep,
    checkpoint_every: int | None = None,
    seed: int = Recipe.seed,
    cache: Path | None = None,
    store_dtype: str = Recipe.store_dtype,
    rotate: str | None = Recipe.rotate,
    role: str = "document",
    queries: int | None = None,
    documents: int | None = None,
    skip_bad: bool = False,
    text_column: str | None = None,
    id_column: str | None = None,
    device: str | None = None,
    tensorboard: Path | None = None,
    export: bool = True,
    overwrite: bool = False,
) -> StudentFacts:
    """Train ``student`` to write the vectors of ``teacher``, and put it into the folder ``out``.

    texts: files or folders as `leafkit.read_texts` takes them; queries and documents each get their role's prompt.
    teacher: what `leafkit.open_teacher` takes, an open teacher where it needs options, or a function that opens one
    (called in the main process alone, so that others do not load it, and let go before training).
    student: a model, some of its layers, a config or a token table (`leafkit.students.spec` lists the forms).
    methods: systems of `leafkit.methods` that train the student, as ``sinkd:weight=0.1`` or objects; LEAF unless
    another objective is named. feeds: those that choose, change or write its texts.
    architecture, budget: a search for the student instead of ``student``, within e.g. ``2M params, 1 ms``.
    objective: norm (the paper's distance), squared or cosine.
    optimiser: adamw, or muon for the matrices of the transformer and AdamW for the rest, at one learning rate.
    epochs: passes over the texts, also parts of one; 0 keeps the start, which every trained student must beat.
    cycles, learning_rate, final_learning_rate: linear decays from the one rate to the other. The default suits
    millions of texts; try 3e-4 for thousands, and 1e-3 for a token table.
    warmup: share of the first cycle in which the rate rises. weight_decay: on matrices alone.
    batch_size: texts per step, over all processes together.
    training_length: train on this many tokens of a text  [default: the teacher's length, as in use].
    head: ridge starts it, and a token table with it, from the closed-form solution; random does not.
    head_bias: whether it has a bias.
    precision: auto trains in bfloat16 where the hardware has it (the head, the loss and the weights in float32).
    valid: texts to validate with  [default: a cut of 2 % of the texts, at most 2,000, drawn from seed].
    valid_every, checkpoint_every: steps between two  [default: a tenth of the run, five minutes].
    keep: the best student by held-out cosine, which may be the start, or the last.
    seed: of the held-out cut, the order of the texts, and whatever starts at random.
    cache, store_dtype: where teacher vectors are kept, and whether as float16 or float32.
    rotate: pca, itq or random; the student learns the space in these coordinates (`leafkit.vectors.rotation`).
    queries, documents: take so many texts of each role, the first ones  [default: all].
    role, skip_bad, text_column, id_column: how `leafkit.read_texts` reads; role is for texts that have none.
    device: cpu, cuda  [default: the best there is].
    tensorboard: a folder for curves. export: write ONNX files for the query host as well.
    overwrite: replace a student that is in ``out`` already.

    Stopped at any moment, the same call goes on where it was, with the same result as if it had not been stopped.
    Under torchrun or accelerate launch the processes share each batch; all must see the same disk.
    """
    recipe = Recipe(
        objective=objective,
        optimiser=optimiser,
        epochs=epochs,
        cycles=cycles,
        learning_rate=learning_rate,
        final_learning_rate=final_learning_rate,
        warmup=warmup,
        weight_decay=weight_decay,
        batch_size=batch_size,
        training_length=training_length,
        head=head,
        head_bias=head_bias,
        precision=precision,
        valid_every=valid_every,
        keep=keep,
        store_dtype=store_dtype,
        rotate=rotate,
        seed=seed,
    )
    if checkpoint_every is not None and checkpoint_every < 1:
        raise OptionError(f"checkpoint_every is {checkpoint_every}; expected at least 1")
    reading = TextOptions(
        role=role,
        skip_bad=skip_bad,
        text_column=text_column,
        id_column=id_column,
        queries=queries,
        documents=documents,
    )
    if methods and objective != Recipe.objective:
        raise OptionError(
            f"objective is {objective} and methods are given, but objective is an option of leaf alone. Give "
            f"leaf:distance={objective} among the methods."
        )
    plan = make_plan(methods or [Leaf(distance=objective)], feeds or ())
    accelerator = start_accelerator()
    if accelerator.num_processes > 1 and not plan.plain:
        raise OptionError(
            f"{', '.join(plan.specs)} train in one process, but a launcher started {accelerator.num_processes}. "
            "Start leafkit without a launcher."
        )
    place = device or str(accelerator.device)
    run = Run(
        student=student,
        architecture=architecture,
        budget=budget,
        plan=plan,
        recipe=recipe.on(place),
        options=RunOptions(
            checkpoint_every=checkpoint_every,
            tensorboard=tensorboard,
            export=export,
            cache=None if cache is None else Path(cache),
            overwrite=overwrite,
        ),
        out=Path(out),
        folder=RunFolder.beside(Path(out)),
        accelerator=accelerator,
        device=place,
    )
    if accelerator.is_main_process:
        return lead(run, texts, valid, reading, lambda: _open(teacher, place))
    return follow(run)


def _open(teacher: str | Path | Teacher | Callable[[], Teacher], device: str) -> Teacher:
    """Open ``teacher``; a path or name is opened on ``device``, and a function opens itself."""
    if isinstance(teacher, str | Path):
        return open_teacher(teacher, device=device)
    if not isinstance(teacher, Teacher) and callable(teacher):
        return open_teacher(teacher())
    return open_teacher(teacher)
