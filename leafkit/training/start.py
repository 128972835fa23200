"""Build the start of a run: the untrained student, the tokenised texts and the closed-form solutions."""

from __future__ import annotations

import logging
from typing import Any

import numpy

from leafkit.files.atomic import atomic_folder
from leafkit.files.checksums import check_checksums, write_checksums
from leafkit.prompts import describe_prompts
from leafkit.students.build import build_student
from leafkit.students.folder import MARKER, write_student
from leafkit.students.head import MOST_TEXTS, fit_head, set_head
from leafkit.students.spec import Pretrained, Static, StudentSpec
from leafkit.students.student import Student
from leafkit.teachers.agreement import fingerprint_of
from leafkit.training import pick
from leafkit.training.batches import sample_rows
from leafkit.training.corpus import Corpus
from leafkit.training.data import PLACES, TrainingData, open_data, save_places, write_data
from leafkit.training.forward import StudentForward
from leafkit.training.run import Run
from leafkit.training.source import is_student, open_source, origin, teacher_model
from leafkit.training.table import fit_table, most_texts
from leafkit.types import ROLES, Int64, Teacher
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.mapping import LinearMap
from leafkit.vectors.rotation import SAMPLE, fit_rotation
from leafkit.vectors.store import VectorStore

logger = logging.getLogger("leafkit")


def build_start(run: Run, corpus: Corpus, teacher: Teacher, spec: StudentSpec, student: Student | None = None) -> None:
    """Cache the teacher's vectors of ``corpus``, and write the student ``spec`` and the texts into the run folder.

    ``student`` is the student ``spec`` if it is already built. Anything that an interrupted call already wrote is kept.
    Afterwards `Run.open_start` and `Run.open_data` find everything that training needs, in this process or another.
    """
    store = run.open_store(teacher.space)
    start = run.folder.start
    if has_start(run):
        check_checksums(start, advice=f"Delete {run.folder.path} to start again.")
        student = None
    elif student is None:
        # Built before the teacher encodes for hours, so that a student that cannot be built fails at once.
        student = new_student(run, CachedEncoder(teacher, store), spec)
    places = store.fill(teacher, corpus.texts, corpus.roles)
    if student is not None:
        mapping = _rotation(run, corpus, store, places)
        with atomic_folder(start, marker=MARKER) as folder:
            write_data(folder, corpus, student, max_length=run.recipe.training_length)
            save_places(folder, places)
            facts = fit_start(run, spec, student.to(run.device), open_data(folder, student.layout, store, mapping))
            facts["origin"] = origin(spec, teacher_model(teacher))
            space = mapping.space if mapping else teacher.space
            write_student(folder, student.to("cpu"), space, facts, mapping, fingerprint_of(teacher))
            write_checksums(folder, leave_out=[PLACES])
    # Written again when a run resumes, because the cache may have been rebuilt with the texts in other rows.
    save_places(start, places)


def has_start(run: Run) -> bool:
    """Tell whether an earlier call already wrote the start of ``run``."""
    return (run.folder.start / MARKER).is_file()


def new_student(run: Run, teacher: Teacher, spec: StudentSpec) -> Student:
    """Build the student ``spec`` with a random head; a token table asks ``teacher`` for a vector of every token."""
    model = teacher_model(teacher)
    source = open_source(spec, model)
    student = build_student(
        spec,
        teacher,
        source=source,
        teacher_model=model,
        head_bias=run.recipe.head_bias,
        prompt=run.recipe.student_prompt,
        seed=run.recipe.seed,
    )
    if source is not None and is_student(spec) and (before := Student(source).prompts) != student.prompts:
        logger.warning(
            "student: it reads the prompts %s. The student that it starts from reads %s (student_prompt)",
            *(describe_prompts(student.prompts), describe_prompts(before)),
        )
    return student


def reads_all_targets(run: Run, spec: StudentSpec, texts: int) -> bool:
    """Tell whether the start reads the teacher's vectors of all ``texts`` training texts."""
    greedy = isinstance(spec, Pretrained) and spec.pick == "greedy"
    return greedy or (run.recipe.head == "ridge" and run.plan.start_rows(texts, run.recipe.seed) is None)


def balanced_sample(roles: Int64, most: int, seed: int) -> Int64:
    """Draw at most ``most`` rows, half of them of each role if there are enough, in ascending order.

    ``roles`` are those of all rows to draw from, (rows,).
    """
    random = numpy.random.default_rng(seed)
    of_role = [random.permutation(numpy.flatnonzero(roles == role)) for role in range(len(ROLES))]
    fewest = min(map(len, of_role))
    chosen = [rows[: max(most // 2, most - fewest)] for rows in of_role]
    return numpy.sort(numpy.concatenate(chosen))


def _rotation(run: Run, corpus: Corpus, store: VectorStore, places: Int64) -> LinearMap | None:
    """Fit the rotation of the recipe to the vectors of the training documents, or of all texts if there are none."""
    if run.recipe.rotate is None:
        return None
    train = places[: len(corpus.train)]
    documents = [place for place, role in zip(train, corpus.train.roles, strict=True) if role == "document"]
    sample = sample_rows(numpy.array(documents or train, dtype=numpy.int64), SAMPLE, run.recipe.seed)
    return fit_rotation(run.recipe.rotate, store.gather(sample), store.space, seed=run.recipe.seed)


def fit_start(run: Run, spec: StudentSpec, student: Student, data: TrainingData) -> dict[str, Any]:
    """Set the layers, head and token table of ``student`` by search and ridge regression; return what was chosen."""
    facts: dict[str, Any] = {}
    recipe, roles = run.recipe, data.roles[: data.train]
    forward = StudentForward(student, recipe.precision).eval()
    if isinstance(spec, Pretrained) and spec.pick == "greedy" and isinstance(spec.layers, int):
        rows = pick.short_texts(data.tokens.lengths, data.roles, balanced_sample(roles, pick.DRAWN, recipe.seed))
        facts["layers"] = pick.pick_layers(spec.layers, forward, data.tokens, rows, data.targets(rows))
    known = run.plan.start_rows(data.train, recipe.seed)
    if recipe.head == "ridge":
        balanced = balanced_sample(roles, MOST_TEXTS, recipe.seed)
        rows = balanced if known is None else sample_rows(known, MOST_TEXTS, recipe.seed)
        features = forward.encode(data.tokens, rows, hidden=True, label="features for the head")
        head = fit_head(features, data.targets(rows), bias=recipe.head_bias, seed=recipe.seed)
        set_head(student, head)
        facts["ridge"] = {"of": "head", "texts": len(rows), "penalty": head.penalty}
        logger.info("head: ridge solution on %d texts, relative penalty %g", len(rows), head.penalty)
    if recipe.head == "ridge" and isinstance(spec, Static):
        trained = data.train_rows if known is None else known
        rows = sample_rows(trained, most_texts(student.head.out_features), recipe.seed)
        penalty = fit_table(forward, data.tokens, rows, data.targets(rows), seed=recipe.seed).penalty
        facts["ridge"] = {"of": "token table", "texts": len(rows), "penalty": penalty}
        logger.info("token table: ridge solution on %d texts, penalty %g", len(rows), penalty)
    return facts
