"""HARD in small: a teacher that does not read the order of words, and a student that learned from sorted texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job, Trained, _Training, lab_plan
from leafkit.methods.batch import Outputs
from leafkit.methods.feeds.hard import ARMS as OPERATORS
from leafkit.methods.plan import Plan
from leafkit.methods.setting import Setting
from leafkit.types import Float32, Int64

CLAIM = "Views with the operators on which student and teacher disagree most teach more than views with random ones."
PREMISE = "The teacher is the mean of its word vectors; the student has weights for each place, and reads sorted texts."
CONTROL = "As many views, with all operators equally likely (rate = 0)."
FIGURE = "mean cosine of held-out texts with their words in a random order; higher is better"
FEEDS = {"hard": ["hard"], "uniform": ["hard:rate=0"], "leaf": []}
ARMS = (*FEEDS, *(f"in order, {arm}" for arm in FEEDS), "probability of shuffle", "of a change of order, all operators")

# Words that a student reads of a text.
WORDS = 12


class PlaceStudent(Perceptron):
    """A perceptron on the word vectors of a text, one after the other, so that it has weights for each place."""

    def forward(self, features: dict[str, Tensor]) -> Outputs:
        """Return all stages for the padded token ids of a `Batch`."""
        if self.table is None:
            raise TypeError("a student of places needs a table")
        words = self.table[features["input_ids"]] * features["attention_mask"][..., None]
        missing = WORDS * self.table.shape[1] - words[0].numel()
        return self.outputs(torch.nn.functional.pad(words.flatten(1), (0, missing)))


class BagOfWords:
    """A live teacher: the unit mean of the rows of ``table`` (vocabulary, width)."""

    def __init__(self, table: Float32) -> None:
        self._table = torch.from_numpy(table)

    def vectors(self, features: dict[str, Tensor]) -> Tensor:
        """Return the vectors of the texts, (rows, width)."""
        words = self._table[features["input_ids"]] * features["attention_mask"][..., None]
        return normalize(words.sum(dim=1), dim=-1)


class _PlaceTraining(_Training):
    """A training of a `PlaceStudent` beside its live teacher."""

    def _new_student(self, seed: int, depth: int) -> Perceptron:
        texts, job = self.texts, self.job
        inputs, dim = texts.features.shape[1], texts.vectors.shape[1]
        student = PlaceStudent(inputs, width=job.width, depth=depth, dim=dim, seed=seed, table=texts.table)
        student.start_head(texts.features, texts.vectors)
        return student

    def _setting(self, plan: Plan) -> Setting:
        live: Any = BagOfWords(_table(self.texts))
        return replace(super()._setting(plan), live=live)

    def _features(self, rows: Int64) -> dict[str, Tensor]:
        texts = [self.texts.tokens[row] for row in rows]
        ids = numpy.zeros((len(texts), max(map(len, texts))), dtype=numpy.int64)
        mask = numpy.zeros_like(ids)
        for place, tokens in enumerate(texts):
            ids[place, : len(tokens)], mask[place, : len(tokens)] = tokens, 1
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of every arm on shuffled and on sorted texts, and the probabilities at the end."""
    train, held_out = ordered(lab.table_texts("mix")).split(seed, 3000, 500)
    draw = numpy.random.default_rng([seed, 61])
    shuffled = with_tokens(held_out, [draw.permutation(tokens) for tokens in held_out.tokens])
    figures = {}
    for arm, feeds in FEEDS.items():
        trained = train_places(["leaf", *feeds], train, Job(seed=seed))
        figures[arm] = cosine(trained.encode(shuffled), shuffled.vectors)
        figures[f"in order, {arm}"] = cosine(trained.encode(held_out), held_out.vectors)
        if arm == "hard":
            shares = dict(zip(OPERATORS, trained.states["hard"].shares.tolist(), strict=True))
            figures["probability of shuffle"] = sum(share for (name, _), share in shares.items() if name == "shuffle")
            moved = ("shuffle", "swap", "rotate")
            figures[ARMS[-1]] = sum(share for (name, _), share in shares.items() if name in moved)
    return figures


def train_places(methods: list[str], texts: LabTexts, job: Job) -> Trained:
    """Train a `PlaceStudent` on ``texts`` of `ordered` with ``methods``."""
    return _PlaceTraining(lab_plan(methods), texts, job, None).run()


def ordered(texts: LabTexts) -> LabTexts:
    """Return ``texts`` with their first words sorted by their number, and the vectors of a bag of words."""
    return with_tokens(texts, [numpy.sort(tokens[:WORDS]) for tokens in texts.tokens])


def with_tokens(texts: LabTexts, tokens: list[Int64]) -> LabTexts:
    """Return ``texts`` made of ``tokens``, with the features of each place and the vectors of a bag of words."""
    table = _table(texts)
    features = numpy.zeros((len(texts), WORDS, table.shape[1]), dtype=numpy.float32)
    for row, ids in enumerate(tokens):
        features[row, : len(ids)] = table[ids]
    sums = features.sum(axis=1)
    return replace(
        texts,
        tokens=tuple(tokens),
        features=features.reshape(len(texts), -1),
        vectors=sums / numpy.linalg.norm(sums, axis=1, keepdims=True),
        lengths=numpy.array([len(ids) for ids in tokens]),
    )


def _table(texts: LabTexts) -> Float32:
    if texts.table is None:
        raise TypeError("these texts have no table; take them from Lab.table_texts")
    return texts.table.astype(numpy.float32)
