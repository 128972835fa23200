"""leafkit.distill: from texts and a teacher to a student folder."""

from __future__ import annotations

import atexit
import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from torch import distributed

from leafkit.errors import ExportError, OptionError
from leafkit.files.atomic import atomic_folder, check_output_folder
from leafkit.methods.method import Method
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.options import MethodOptions
from leafkit.methods.plan import Plan, make_plan
from leafkit.methods.setting import Gather
from leafkit.methods.student_search import choose_student
from leafkit.options import options_of, takes
from leafkit.students.card import write_card
from leafkit.students.folder import MARKER, StudentFacts, read_student, write_student
from leafkit.students.moment import MOST_QUERIES, write_moment
from leafkit.students.spec import Static, parse_student
from leafkit.teachers.open import open_teacher, open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.texts.table import Sources, TextTable
from leafkit.training.batches import sample_rows
from leafkit.training.corpus import Corpus, read_corpus
from leafkit.training.encode import encode_rows
from leafkit.training.facts import training_facts
from leafkit.training.forward import StudentForward
from leafkit.training.prepare import Job, open_material, prepare, require_own_vectors, teacher_model
from leafkit.training.recipe import Recipe, RunOptions
from leafkit.training.recipe_file import DISTILL_OPTIONS
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


@takes(*DISTILL_OPTIONS)
def distill(
    texts: Sources,
    teacher: str | Path | Teacher,
    student: str | None,
    out: str | PathLike[str],
    **options: Any,
) -> StudentFacts:
    """Train ``student`` to write the vectors of ``teacher``, and write it into the folder ``out``.

    texts: files or folders as `leafkit.read_texts` takes them. Queries and documents each get their role's prompt.
    teacher: anything that `leafkit.open_teacher` takes, or an open teacher. The main process alone opens a name, and
        releases the teacher before training.
    student: a model, some of its layers, a config or a token table (`leafkit.students.spec` lists the forms). None if
        an ``architecture`` search finds the student.

    An interrupted call continues where it stopped when it is repeated, with the same result as if it had not been
    interrupted. Under torchrun or accelerate launch the processes share each batch; all must see the same disk.
    Raises `OptionError` for options outside their range or that exclude each other, `TextError` for texts,
    `OutputError` if ``out`` exists, `TrainingError` on collapse, and `ExportError` if the ONNX files do not agree with
    the student (which is kept).
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
    accelerator = _accelerator()
    if accelerator.num_processes > 1 and not plan.is_plain_leaf:
        raise OptionError(
            f"{', '.join(plan.specs)} can train in one process only, but {accelerator.num_processes} were started. "
            "Start leafkit without a launcher."
        )
    device = opening.device or str(accelerator.device)
    run = Distillation(
        student=student,
        plan=plan,
        architecture=chosen.architecture,
        budget=chosen.budget,
        out=Path(out),
        recipe=recipe.on(device),
        accelerator=accelerator,
        device=device,
        cache=running.cache,
        checkpoint_every=running.checkpoint_every,
        tensorboard=running.tensorboard,
        export=running.export,
        overwrite=running.overwrite,
    )
    if accelerator.is_main_process:
        return run.lead(texts, reading, lambda: open_with(teacher, replace(opening, device=device)))
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

    def lead(self, texts: Sources, reading: TextOptions, teacher: Callable[[], Teacher]) -> StudentFacts:
        """Prepare, train and write the student."""
        search = choose_student(self.student, self.architecture, self.budget)
        check_output_folder(self.out, marker=MARKER, overwrite=self.overwrite)
        corpus = read_corpus(texts, reading, seed=self.recipe.seed)
        opened = teacher()
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

    def _teach(self, train: TextTable) -> Callable[[str], Gather]:
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
        self._train(store, count, self._teach(TextTable()))
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
        with atomic_folder(self.out, marker=MARKER, overwrite=self.overwrite) as folder:
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
