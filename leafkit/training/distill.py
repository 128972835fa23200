"""leafkit.distill: from texts and a teacher to a student folder."""

from __future__ import annotations

import atexit
import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from torch import distributed

from leafkit.errors import ExportError, OptionError
from leafkit.files.atomic import check_free, new_folder
from leafkit.methods.method import Method
from leafkit.methods.objectives.leaf import Distance, Leaf
from leafkit.methods.plan import MethodSpecs, Plan, make_plan
from leafkit.methods.setting import Gather
from leafkit.methods.student_search import choose_student
from leafkit.students.card import write_card
from leafkit.students.folder import MARKER, StudentFacts, read_student, write_student
from leafkit.students.moment import MOST_QUERIES, write_moment
from leafkit.students.spec import Static, parse_student
from leafkit.teachers.open import open_teacher
from leafkit.texts.table import Sources, TextOptions, Texts
from leafkit.training.batches import sample_rows
from leafkit.training.corpus import Corpus, read_corpus
from leafkit.training.encode import encode_rows
from leafkit.training.facts import training_facts
from leafkit.training.forward import StudentForward
from leafkit.training.prepare import Job, open_material, prepare, require_own_vectors, teacher_model
from leafkit.training.recipe import Head, Keep, Optimiser, Precision, Recipe
from leafkit.training.rounds import Rounds
from leafkit.training.run_folder import RunFolder
from leafkit.training.tensorboard import tensorboard_report
from leafkit.types import ROLES, Float32, Teacher
from leafkit.vectors.mapping import read_mapping
from leafkit.vectors.store import VectorStore

if TYPE_CHECKING:
    from accelerate import Accelerator
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger("leafkit")


def distill(
    texts: Sources,
    teacher: str | Path | Teacher | Callable[[], Teacher],
    student: str | None,
    out: str | PathLike[str],
    *,
    methods: MethodSpecs | None = None,
    feeds: MethodSpecs | None = None,
    writers: MethodSpecs | None = None,
    architecture: str | Method | None = None,
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
    another objective is named. feeds: those that choose texts or change their view. writers: those that write texts.
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
        raise OptionError(f"checkpoint_every is {checkpoint_every}; wanted 1 or more")
    reading = TextOptions(
        role=role,
        skip_bad=skip_bad,
        text_column=text_column,
        id_column=id_column,
        queries=queries,
        documents=documents,
    )
    if methods and objective != Recipe.objective:
        raise OptionError(f"objective={objective} is for LEAF alone; among methods say leaf:distance={objective}")
    plan = make_plan(methods or [Leaf(distance=objective)], feeds or (), writers or ())
    accelerator = _accelerator()
    if accelerator.num_processes > 1 and not plan.is_plain_leaf:
        raise OptionError(f"{', '.join(plan.specs)} train in one process; start leafkit without a launcher")
    place = device or str(accelerator.device)
    run = Distillation(
        student=student,
        plan=plan,
        architecture=architecture,
        budget=budget,
        out=Path(out),
        recipe=recipe.on(place),
        accelerator=accelerator,
        device=place,
        cache=None if cache is None else Path(cache),
        checkpoint_every=checkpoint_every,
        tensorboard=tensorboard,
        export=export,
        overwrite=overwrite,
    )
    if accelerator.is_main_process:
        return run.lead(texts, valid, reading, teacher)
    return run.follow()


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """One call of `distill` with its arguments checked. The main process leads; others follow in the loop alone."""

    student: str | None
    plan: Plan
    architecture: str | Method | None
    budget: str | None
    out: Path
    recipe: Recipe
    accelerator: Accelerator
    device: str
    cache: Path | None
    checkpoint_every: int | None
    tensorboard: Path | None
    export: bool
    overwrite: bool

    @property
    def folder(self) -> RunFolder:
        """Where the unfinished run lives."""
        return RunFolder.beside(self.out)

    def lead(self, texts: Sources, valid: Sources | None, reading: TextOptions, teacher: Any) -> StudentFacts:
        """Prepare, train and write the student."""
        search = choose_student(self.student, self.architecture, self.budget)
        check_free(self.out, marker=MARKER, overwrite=self.overwrite)
        corpus = read_corpus(texts, valid, reading, seed=self.recipe.seed)
        opened = _opened(teacher, self.device)
        require_own_vectors(opened)
        self._check_plan(corpus, opened)
        with self.folder.locked():
            self.folder.claim(self._description(corpus, opened))
            store = VectorStore.open(self.cache, opened.space, dtype=self.recipe.store_dtype)
            texts_read = len(corpus.train)
            corpus = self._written(corpus, opened, store)
            student = parse_student(search.student(self.folder.path, opened, corpus.train.texts, self.recipe.seed))
            prepare(
                Job(
                    corpus=corpus,
                    teacher=opened,
                    student=student,
                    recipe=self.recipe,
                    store=store,
                    folder=self.folder,
                    device=self.device,
                )
            )
            del opened, teacher
            self.accelerator.wait_for_everyone()
            rounds = self._train(store, len(corpus.train), self._teach(corpus.train))
            # A ridge start, a choice of layers and a writer look at the teacher's vectors of all texts.
            looked = self.recipe.head == "ridge" or getattr(student, "pick", "even") != "even"
            spared = not looked and self.plan.writer is None
            facts = training_facts(
                self.folder,
                self.recipe,
                search.name,
                self.plan.specs,
                corpus,
                rounds.state,
                asked=rounds.asked if spared else texts_read,
                generations=rounds.generations,
            )
            return self._finish(rounds.model, facts, self._query_vectors(rounds.model, store, len(corpus.train)))

    def _check_plan(self, corpus: Corpus, teacher: Teacher) -> None:
        """Raise `OptionError` for a plan that needs what is not there; else tell it."""
        signals = teacher.signals | corpus.train.signals() | ({"model"} if teacher_model(teacher) else set())
        table = self.student is not None and isinstance(parse_student(self.student), Static)
        self.plan.check_needs(signals if table else signals | {"layers"})
        if not self.plan.is_plain_leaf:
            logger.info("the plan:\n%s", self.plan)

    def _written(self, corpus: Corpus, teacher: Teacher, store: VectorStore) -> Corpus:
        """The corpus with the training texts that the plan's writer makes of it; itself if there is none."""
        if self.plan.writer is None:
            return corpus
        train = corpus.train
        vectors = store.gather(store.fill(teacher, train.texts, train.roles))
        return dataclasses.replace(corpus, train=self.plan.writer.write(train, vectors, self.recipe.seed))

    def _teach(self, train: Texts) -> Callable[[str], Gather]:
        """How another teacher's vectors of the training texts are had: by its name, cached like the first one's."""

        def open_other(name: str) -> Gather:
            other = open_teacher(name, device=self.device)
            store = VectorStore.open(self.cache, other.space, dtype=self.recipe.store_dtype)
            places = store.fill(other, train.texts, train.roles)
            return lambda rows: store.gather(places[rows])

        return open_other

    def follow(self) -> StudentFacts:
        """Train along with the main process, and wait until it has written the student."""
        self.accelerator.wait_for_everyone()
        start = self.folder.path / "start"
        space = read_student(start).space
        mapping = read_mapping(start, space)
        space = mapping.base if mapping else space
        count = json.loads((self.folder.path / "run.json").read_bytes())["training texts"]
        store = VectorStore.open(self.cache, space, dtype=self.recipe.store_dtype)
        self._train(store, count, self._teach(Texts()))
        self.accelerator.wait_for_everyone()
        return read_student(self.out)

    def _description(self, corpus: Corpus, teacher: Teacher) -> dict[str, Any]:
        return {
            "student": self.student,
            "architecture": None if self.architecture is None else str(self.architecture),
            "budget": self.budget,
            "teacher": teacher.space.id,
            **dataclasses.asdict(self.recipe),
            "methods": self.plan.specs,
            "texts": corpus.train.digest(),
            "validation texts": corpus.valid.digest(),
            "training texts": len(corpus.train),
        }

    def _train(self, store: VectorStore, count: int, teach: Callable[[str], Gather]) -> Rounds:
        with tensorboard_report(self.tensorboard if self.accelerator.is_main_process else None) as report:
            rounds = Rounds(
                folder=self.folder,
                store=store,
                texts=count,
                plan=self.plan,
                recipe=self.recipe,
                accelerator=self.accelerator,
                device=self.device,
                checkpoint_every=self.checkpoint_every,
                report=report,
                teach=teach,
            )
            rounds.run()
        return rounds

    def _query_vectors(self, model: SentenceTransformer, store: VectorStore, count: int) -> Float32:
        """The student's vectors of training queries (of any texts where there is none), for folding."""
        material = open_material(self.folder, model, store, count)
        queries = numpy.flatnonzero(material.roles[:count] == ROLES.index("query"))
        rows = sample_rows(queries if len(queries) else material.train_rows, MOST_QUERIES, self.recipe.seed)
        return encode_rows(StudentForward(model.to(self.device), self.recipe.precision).eval(), material.tokens, rows)

    def _finish(self, model: SentenceTransformer, training: dict[str, Any], queries: Float32) -> StudentFacts:
        """Write the student, its card and its ONNX files, and remove the run folder.

        Raises `ExportError` for ONNX files that do not agree with the student, which itself is kept.
        """
        start = self.folder.path / "start"
        space = read_student(start).space
        with new_folder(self.out, marker=MARKER, overwrite=self.overwrite) as folder:
            facts = write_student(folder, model.to("cpu"), space, training, read_mapping(start, space))
            write_moment(folder, queries)
            write_card(facts, name=self.out.name)
            refused = _refused_export(folder) if self.export else None
        self.accelerator.wait_for_everyone()
        self.folder.remove()
        if refused is not None:
            raise ExportError(f"the student is finished in {self.out}, but without ONNX files: {refused}")
        logger.info("student written to %s", self.out)
        return read_student(self.out)


def _refused_export(folder: Path) -> ExportError | None:
    """Export the student in ``folder``; why that was refused, or None. Hours of training are not thrown away for it."""
    from leafkit.onnx.student import export

    try:
        export(folder)
    except ExportError as error:
        return error
    return None


def _opened(teacher: Any, device: str) -> Teacher:
    if isinstance(teacher, str | Path):
        return open_teacher(teacher, device=device)
    if not isinstance(teacher, Teacher) and callable(teacher):
        return open_teacher(teacher())
    return open_teacher(teacher)


def _accelerator() -> Accelerator:
    from accelerate import Accelerator, InitProcessGroupKwargs

    # The teacher may encode for days while the other processes wait; the default gives up after minutes.
    patience = InitProcessGroupKwargs(timeout=timedelta(days=30))
    grouped = _grouped()
    # Precision is the student's own affair (`StudentForward`): accelerate would cast the head as well.
    accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[patience])
    if _grouped() and not grouped:
        # Left to the interpreter's own end, the threads of a group now and then abort a process that has finished.
        # Not sooner: a script may distil again, and accelerate keeps the group for as long as there is a process.
        atexit.register(_leave_group)
    return accelerator


def _grouped() -> bool:
    """Whether this process is in a group of torch's by now."""
    return distributed.is_available() and distributed.is_initialized()


def _leave_group() -> None:
    if _grouped():  # a script may have left it itself
        distributed.destroy_process_group()
