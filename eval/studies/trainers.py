"""Train the student of one run: with leafkit, or with another trainer on the same texts and teacher vectors."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.rival_trainer import train_rival
from eval.studies.model2vec_rival import distill_with_model2vec
from eval.studies.table import Kind, Variant
from eval.studies.texts import StudyTexts
from leafkit.errors import OptionError
from leafkit.evaluation.learning_curve import CurvePoint, learning_curve
from leafkit.students.encoder import StudentEncoder, open_student
from leafkit.students.folder import MARKER, StudentFacts, read_student
from leafkit.teachers.sentence_transformer import set_compute
from leafkit.texts.options import TextOptions
from leafkit.training.corpus import Corpus, read_corpus
from leafkit.training.distill import distill
from leafkit.training.recipe import Recipe
from leafkit.types import Encoder
from leafkit.vectors.cached import CachedEncoder


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One variant with one seed. ``recipe`` includes the seed and final epochs; ``out`` is a folder of this run."""

    variant: Variant
    recipe: Recipe
    texts: StudyTexts
    teacher: CachedEncoder
    cache: Path
    out: Path


@dataclass(frozen=True, kw_only=True)
class TrainedStudent:
    """A student, the seconds and steps of its training, its size, and its validations during training."""

    encoder: Encoder
    seconds: float
    steps: int
    parameters: int
    curve: Sequence[CurvePoint]


def train_student(job: TrainingJob) -> TrainedStudent:
    """Train the student of ``job``; it then computes as in ``leafkit evaluate``: in bfloat16 if the hardware can."""
    trainers: dict[Kind, Callable[[TrainingJob], TrainedStudent]] = {
        "distill": _leafkit,
        "sentence-transformers": _sentence_transformers,
        "model2vec": _model2vec,
    }
    trained = trainers[job.variant.kind](job)
    if isinstance(trained.encoder, StudentEncoder):
        set_compute(trained.encoder.model, "auto", label=job.variant.name)
    return trained


def train_with_leafkit(job: TrainingJob, recipe: Recipe, out: Path) -> StudentFacts:
    """Train with leafkit and ``recipe`` in the folder ``out``; a finished student in ``out`` is reused."""
    if (out / MARKER).is_file():
        return read_student(out)
    return distill(
        job.texts.train,
        # Not the cached teacher: distillation fills the same vector store itself.
        job.teacher.teacher,
        job.variant.student,
        out,
        valid=job.texts.valid,
        cache=job.cache,
        export=False,
        feeds=job.variant.feeds or None,
        **dataclasses.asdict(recipe),
    )


def _leafkit(job: TrainingJob) -> TrainedStudent:
    training = train_with_leafkit(job, job.recipe, job.out).training
    curve = learning_curve(training)
    encoder = open_student(job.out)
    return TrainedStudent(
        encoder=encoder,
        seconds=curve[-1].seconds,
        steps=training["steps"],
        parameters=_parameters(encoder),
        curve=curve,
    )


def _sentence_transformers(job: TrainingJob) -> TrainedStudent:
    """Train with sentence-transformers from the same start, with the same texts, vectors, batch size, rates and steps.

    Float32 and dropout are defaults of the sentence-transformers trainer and stay.
    """
    from datasets import Dataset

    recipe = job.recipe
    if (recipe.objective, recipe.optimiser, recipe.cycles) != ("norm", "adamw", 1):
        raise OptionError(
            f"{job.variant.name}: the sentence-transformers trainer supports only objective = 'norm', "
            "optimiser = 'adamw' and cycles = 1. Remove the other values."
        )
    # No epochs: only the start of training is needed.
    train_with_leafkit(job, dataclasses.replace(recipe, epochs=0), job.out)
    encoder = open_student(job.out, device="cpu")
    corpus = _corpus(job)
    texts, store = corpus.train, job.teacher.store
    prompts = [encoder.prompts[role] for role in texts.roles]
    labels = store.gather(store.fill(job.teacher.teacher, texts.texts, texts.roles))
    rows = Dataset.from_dict({"text": [p + t for p, t in zip(prompts, texts.texts, strict=True)], "label": labels})
    steps = recipe.steps(len(texts))
    started = time.perf_counter()
    train_rival(
        encoder.model,
        rows,
        job.out.with_name(f"{job.out.name}-trainer"),
        steps=steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        final_learning_rate=recipe.final_learning_rate,
        warmup_steps=round(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
    )
    seconds = time.perf_counter() - started
    trained = StudentEncoder(encoder.student, encoder.space)
    return TrainedStudent(encoder=trained, seconds=seconds, steps=steps, parameters=_parameters(trained), curve=())


def _model2vec(job: TrainingJob) -> TrainedStudent:
    started = time.perf_counter()
    encoder = distill_with_model2vec(job.teacher)
    seconds = time.perf_counter() - started
    return TrainedStudent(encoder=encoder, seconds=seconds, steps=0, parameters=encoder.parameters, curve=())


def _corpus(job: TrainingJob) -> Corpus:
    return read_corpus(job.texts.train, TextOptions(valid=job.texts.valid), seed=job.recipe.seed)


def _parameters(encoder: Any) -> int:
    return sum(parameter.numel() for parameter in encoder.model.parameters())
