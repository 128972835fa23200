"""How one variant with one seed becomes a student: leafkit's training, or a rival's on the same texts and vectors."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.embed_distill import train_rival
from eval.experiments.static import distill_static
from eval.experiments.table import Kind, Variant
from eval.experiments.texts import Chosen
from leafkit.errors import OptionError
from leafkit.evaluation.learning_curve import CurvePoint, learning_curve
from leafkit.students.encoder import StudentEncoder
from leafkit.students.folder import MARKER, StudentFacts, open_student, read_student
from leafkit.teachers.sentence_transformer import set_compute
from leafkit.texts.options import TextOptions
from leafkit.training.corpus import Corpus, read_corpus
from leafkit.training.distill import distill
from leafkit.training.recipe import Recipe
from leafkit.types import Encoder
from leafkit.vectors.cached import CachedEncoder


@dataclass(frozen=True, kw_only=True)
class Job:
    """One variant with one seed: ``recipe`` has the seed and its final epochs; ``out`` is a folder of its own."""

    variant: Variant
    recipe: Recipe
    texts: Chosen
    teacher: CachedEncoder
    cache: Path
    out: Path


@dataclass(frozen=True, kw_only=True)
class Made:
    """A student, the seconds of training behind it, and how near its teacher it came on the way."""

    encoder: Encoder
    seconds: float
    steps: int
    parameters: int
    curve: Sequence[CurvePoint]


def make(job: Job) -> Made:
    """The student of ``job``, computing as ``leafkit evaluate`` would let it: in bfloat16 where the hardware has it."""
    makers: dict[Kind, Callable[[Job], Made]] = {
        "distill": _leafkit,
        "sentence-transformers": _sentence_transformers,
        "model2vec": _model2vec,
    }
    made = makers[job.variant.kind](job)
    if isinstance(made.encoder, StudentEncoder):
        set_compute(made.encoder.model, "auto", label=job.variant.name)
    return made


def train(job: Job, recipe: Recipe, out: Path) -> StudentFacts:
    """The student that leafkit trains for ``job`` with ``recipe`` in ``out``; one that is there is taken as it is."""
    if (out / MARKER).is_file():
        return read_student(out)
    return distill(
        job.texts.train,
        # Not through its store: training fills the same one itself.
        job.teacher.teacher,
        job.variant.student,
        out,
        valid=job.texts.valid,
        cache=job.cache,
        export=False,
        feeds=job.variant.feeds or None,
        **dataclasses.asdict(recipe),
    )


def _leafkit(job: Job) -> Made:
    training = train(job, job.recipe, job.out).training
    curve = learning_curve(training)
    encoder = open_student(job.out)
    return Made(
        encoder=encoder,
        seconds=curve[-1].seconds,
        steps=training["steps"],
        parameters=_parameters(encoder),
        curve=curve,
    )


def _sentence_transformers(job: Job) -> Made:
    """The same start, texts, vectors, batch, rates and dose; float32 and dropout as that trainer ships."""
    from datasets import Dataset

    recipe = job.recipe
    if (recipe.objective, recipe.optimiser, recipe.cycles) != ("norm", "adamw", 1):
        raise OptionError(f"{job.variant.name}: sentence-transformers has the norm, AdamW and one cycle here")
    # Without epochs: the start alone.
    train(job, dataclasses.replace(recipe, epochs=0), job.out)
    encoder = open_student(job.out, device="cpu")
    corpus = _corpus(job)
    space = job.teacher.space
    rows = Dataset.from_dict(
        {
            "text": [
                space.prompt(role) + text for text, role in zip(corpus.train.texts, corpus.train.roles, strict=True)
            ],
            "label": job.teacher.store.gather(
                job.teacher.store.fill(job.teacher.teacher, corpus.train.texts, corpus.train.roles)
            ),
        }
    )
    steps = recipe.steps(len(corpus.train))
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
    trained = StudentEncoder(encoder.model, encoder.space)
    return Made(encoder=trained, seconds=seconds, steps=steps, parameters=_parameters(trained), curve=())


def _model2vec(job: Job) -> Made:
    started = time.perf_counter()
    encoder = distill_static(job.teacher)
    seconds = time.perf_counter() - started
    return Made(encoder=encoder, seconds=seconds, steps=0, parameters=encoder.parameters, curve=())


def _corpus(job: Job) -> Corpus:
    return read_corpus(job.texts.train, TextOptions(valid=job.texts.valid), seed=job.recipe.seed)


def _parameters(encoder: Any) -> int:
    return sum(parameter.numel() for parameter in encoder.model.parameters())
