"""What comes before the loop: texts, the teacher's vectors, tokens and the student as it starts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy

from leafkit.errors import OptionError
from leafkit.files.arrays import save_array
from leafkit.files.atomic import atomic_folder
from leafkit.students.build import build_student
from leafkit.students.folder import MARKER, open_student, read_student, write_student
from leafkit.students.head import MOST_TEXTS, fit_head, set_head
from leafkit.students.spec import Pretrained, Static, StudentSpec
from leafkit.training import pick
from leafkit.training.batches import sample_rows
from leafkit.training.corpus import Corpus
from leafkit.training.encode import encode_rows
from leafkit.training.forward import StudentForward
from leafkit.training.material import Material
from leafkit.training.recipe import Recipe
from leafkit.training.run_folder import RunFolder
from leafkit.training.table import fit_table, most_texts
from leafkit.training.tokens import Layout, TokenFile, write_tokens
from leafkit.types import ROLES, Float32, Int64, Teacher
from leafkit.vectors.cached import CachedEncoder
from leafkit.vectors.mapped_store import MappedStore
from leafkit.vectors.mapping import LinearMap, read_mapping
from leafkit.vectors.rotation import SAMPLE, fit_rotation
from leafkit.vectors.store import VectorStore, is_exact

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One distillation, with everything that was asked for opened and checked."""

    corpus: Corpus
    teacher: Teacher
    student: StudentSpec
    recipe: Recipe
    store: VectorStore
    folder: RunFolder
    device: str


def prepare(job: Job) -> None:
    """Fill the run folder: what is there already stays, and what is missing is made.

    A rotation is fitted to the teacher's vectors of the training documents (of all texts where there is none).

    Afterwards `open_material` and `open_start` find all that the loop needs, in this process or another.
    """
    train, valid = job.corpus.train, job.corpus.valid
    start = job.folder.path / "start"
    # Before the teacher reads for hours: a student that cannot be built is refused at once.
    model = None if (start / MARKER).is_file() else _built(job)
    places = job.store.fill(job.teacher, train.texts + valid.texts, train.roles + valid.roles)
    if model is not None:
        with atomic_folder(start, marker=MARKER) as folder:
            _write_start(job, model, MappedStore(job.store, _rotation(job, places)), places, folder)
    save_array(start / "places.npy", places)


def open_material(folder: RunFolder, model: SentenceTransformer, store: VectorStore, train: int) -> Material:
    """The run folder's tokens and targets; the first ``train`` texts are those to train on."""
    start = folder.path / "start"
    return Material(
        tokens=TokenFile(start / "tokens", Layout.of(model)),
        roles=numpy.load(start / "roles.npy", allow_pickle=False),
        places=numpy.load(start / "places.npy", allow_pickle=False),
        train=train,
        store=MappedStore(store, read_mapping(start, read_student(start).space)),
        labels=numpy.load(start / "labels.npy", allow_pickle=False),
        domains=numpy.load(start / "domains.npy", allow_pickle=False),
    )


def open_start(folder: RunFolder) -> SentenceTransformer:
    """The student before its first step, on the CPU."""
    return open_student(folder.path / "start", device="cpu").model


def _built(job: Job) -> SentenceTransformer:
    """The student that is asked for, its head as it is drawn."""
    return build_student(
        job.student,
        # Through the store: a token table asks the teacher about every token, which is long work as well.
        CachedEncoder(job.teacher, job.store),
        teacher_model=teacher_model(job.teacher),
        head_bias=job.recipe.head_bias,
        seed=job.recipe.seed,
    )


def _rotation(job: Job, places: Int64) -> LinearMap | None:
    if job.recipe.rotate is None:
        return None
    rows = places[: len(job.corpus.train)]
    documents = [row for row, role in zip(rows, job.corpus.train.roles, strict=True) if role == "document"]
    sample = sample_rows(numpy.array(documents or rows, dtype=numpy.int64), SAMPLE, job.recipe.seed)
    return fit_rotation(job.recipe.rotate, job.store.gather(sample), job.teacher.space, seed=job.recipe.seed)


def teacher_model(teacher: Any) -> str | None:
    """The folder or hub id of the sentence-transformers model behind ``teacher``; None if there is none."""
    if isinstance(teacher, CachedEncoder):
        return teacher_model(teacher.teacher)
    first = next(iter(getattr(teacher, "model", None) or []), None)
    place = getattr(getattr(first, "model", None), "name_or_path", None)
    return place or None


def require_own_vectors(teacher: Teacher) -> None:
    """Raise `OptionError` for a student as teacher: its vectors only come near those of its space."""
    if not is_exact(teacher):
        raise OptionError(
            f"a student cannot teach: its vectors only come near those of {teacher.space.teacher}, and errors would "
            "add up. Name that teacher itself, and this student as --student to go on training it"
        )


def _write_start(job: Job, model: SentenceTransformer, targets: MappedStore, places: Int64, folder: Path) -> None:
    train, valid = job.corpus.train, job.corpus.valid
    write_tokens(
        folder / "tokens",
        model,
        train.texts + valid.texts,
        train.roles + valid.roles,
        max_length=job.recipe.training_length,
    )
    roles = numpy.array([ROLES.index(role) for role in train.roles + valid.roles], dtype=numpy.int64)
    save_array(folder / "roles.npy", roles)
    save_array(folder / "labels.npy", train.label_ids())
    save_array(folder / "domains.npy", train.domain_ids())
    tokens = TokenFile(folder / "tokens", Layout.of(model))
    facts = _fit(job, model, tokens, roles, lambda rows: targets.gather(places[rows]))
    model.to("cpu")
    mapping = targets.mapping
    write_student(folder, model, mapping.space if mapping else job.teacher.space, facts, mapping)


def _fit(
    job: Job, model: SentenceTransformer, tokens: TokenFile, roles: Int64, wanted: Callable[[Int64], Float32]
) -> dict[str, Any]:
    """Solve for what of the start has a closed form, with the vectors ``wanted`` of rows; how it was done."""
    facts: dict[str, Any] = {}
    recipe, train = job.recipe, len(job.corpus.train)
    forward = StudentForward(model.to(job.device), recipe.precision).eval()
    if isinstance(job.student, Pretrained) and job.student.pick == "greedy":
        rows = pick.short_texts(tokens.lengths, roles, balanced_sample(roles[:train], pick.DRAWN, recipe.seed))
        facts["layers"] = pick.pick_layers(cast(int, job.student.layers), forward, tokens, rows, wanted(rows))
    if recipe.head == "ridge":
        rows = balanced_sample(roles[:train], MOST_TEXTS, recipe.seed)
        features = encode_rows(forward, tokens, rows, hidden=True, label="features for the head")
        head = fit_head(features, wanted(rows), bias=recipe.head_bias, seed=recipe.seed)
        set_head(model, head)
        facts["ridge"] = {"of": "head", "texts": len(rows), "penalty": head.penalty}
        logger.info("head: ridge solution on %d texts, relative penalty %g", len(rows), head.penalty)
    if recipe.head == "ridge" and isinstance(job.student, Static):
        rows = sample_rows(numpy.arange(train), most_texts(job.teacher.space.dim), recipe.seed)
        penalty = fit_table(forward, tokens, rows, wanted(rows), seed=recipe.seed)
        facts["ridge"] = {"of": "token table", "texts": len(rows), "penalty": penalty}
        logger.info("token table: ridge solution on %d texts, penalty %g", len(rows), penalty)
    return facts


def balanced_sample(roles: Int64, most: int, seed: int) -> Int64:
    """At most ``most`` rows, half of each role as far as there are so many, in ascending order."""
    random = numpy.random.default_rng(seed)
    of_role = [random.permutation(numpy.flatnonzero(roles == role)) for role in range(len(ROLES))]
    fewest = min(map(len, of_role))
    taken = [rows[: max(most // 2, most - fewest)] for rows in of_role]
    return numpy.sort(numpy.concatenate(taken))
