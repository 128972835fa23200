"""Talking Models in small: questions through the teacher's upper layers, against a hint with the same codecs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy
import torch
from torch import Tensor

from eval.mechanism.figures import cosine, overlap
from eval.mechanism.lab import BATCH_TOKENS, TOKENS, Lab
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job, Trained, _Training, lab_plan
from eval.mechanism.words import WordStudent
from leafkit.methods.batch import Batch, View
from leafkit.methods.plan import Plan
from leafkit.methods.setting import Setting
from leafkit.teachers.open import open_teacher
from leafkit.texts.batches import length_batches
from leafkit.training.live import LiveTeacher
from leafkit.types import Float32, Int64

CLAIM = "A student that asks the teacher in the middle of its layers learns more than one that gets hints."
PREMISE = "A general teacher, and a student that has seen 300 queries of one bank alone."
CONTROL = "A hint: the teacher's states of both levels, imitated through the same codecs, with the same pull."
FIGURE = "mean cosine on held-out queries of the bank, at a pull of 1; `reply` is the way from teacher to student alone"
SPECS = {
    "talking": "talking",
    "hint": "talking:path=hint",
    "reply": "talking:path=reply",
    "leaf": "",
}
ARMS = (*SPECS, *(f"overlap, {arm}" for arm in SPECS))
TEXTS, HELD_OUT = 300, 500


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return cosine and overlap with the teacher for LEAF with each way to talk."""
    texts = lab.all_texts("banking77")
    chosen = numpy.random.default_rng([seed, 43]).permutation(len(texts))[: TEXTS + HELD_OUT]
    model: Any = open_teacher(lab.teacher)
    live = LiveTeacher(copy.deepcopy(model.model), "float32")
    both = token_texts(live, texts.choose(chosen))
    train, held_out = both.choose(numpy.arange(TEXTS)), both.choose(TEXTS + numpy.arange(HELD_OUT))
    figures = {}
    for arm, spec in SPECS.items():
        methods, pulls = (["leaf", spec], {"talking": 1.0}) if spec else (["leaf"], {})
        job = Job(seed=seed, steps=100, batch_size=8, depth=2, pulls=pulls)
        vectors = train_tokens(methods, train, live, job).encode(held_out)
        figures[arm] = cosine(vectors, held_out.vectors)
        figures[f"overlap, {arm}"] = overlap(vectors, held_out.vectors)
    return figures


class _TokenTraining(_Training):
    """A training of a student that reads features of every token, with the whole teacher in each step."""

    def __init__(self, plan: Plan, texts: LabTexts, job: Job, live: LiveTeacher) -> None:
        self._live = live
        super().__init__(plan, texts, job, None)

    def _new_student(self, seed: int, depth: int) -> Perceptron:
        texts, dim = self.texts, self.texts.vectors.shape[1]
        student = WordStudent(texts.features.shape[-1], width=self.job.width, depth=depth, dim=dim, seed=seed)
        student.start_head(texts.features, texts.vectors)
        return student

    def _setting(self, plan: Plan) -> Setting:
        return replace(super()._setting(plan), live=self._live)

    def _features(self, rows: Int64) -> dict[str, Tensor]:
        tokens = padded([self.texts.tokens[row] for row in rows])
        # The features of a text end where its tokens end.
        return tokens | {"features": torch.from_numpy(self.texts.features[rows, : tokens["input_ids"].shape[1]])}

    def _pass(self, view: View) -> Batch:
        ids = {name: value for name, value in view.features.items() if name != "features"}
        found = {**vars(view), **vars(self.student(view.features)), "features": ids, "tokens": None}
        del found["embed"]
        return Batch(**found)


def train_tokens(methods: Sequence[str], texts: LabTexts, live: LiveTeacher, job: Job) -> Trained:
    """Train a student on ``texts`` of `token_texts` with ``methods``; ``live`` is the teacher in each step."""
    return _TokenTraining(lab_plan(methods), texts, job, live).run()


@torch.inference_mode()
def token_texts(live: LiveTeacher, texts: LabTexts) -> LabTexts:
    """Return ``texts`` with their token ids, and with features of each token, (texts, length, inputs), 0 for padding.

    Features are the states after the first layer of the teacher, standardised over the tokens.
    """
    read = live.model.tokenizer(list(texts.texts), truncation=True, max_length=TOKENS)["input_ids"]
    tokens = tuple(numpy.array(ids, dtype=numpy.int64) for ids in read)
    lengths = numpy.array([len(ids) for ids in tokens])
    features: Float32 | None = None
    for rows in length_batches(lengths, tokens=BATCH_TOKENS, rows=256):
        batch = padded([tokens[row] for row in rows])
        states = (live.states(batch, 1) * batch["attention_mask"][..., None]).numpy()
        if features is None:
            features = numpy.zeros((len(texts), int(lengths.max()), states.shape[-1]), dtype=numpy.float32)
        features[rows, : states.shape[1]] = states
    if features is None:
        raise ValueError("there are no texts")
    real = numpy.arange(features.shape[1]) < lengths[:, None]
    mean, spread = features[real].mean(axis=0), features[real].std(axis=0)
    features[real] = (features[real] - mean) / numpy.maximum(spread, 1e-6)
    return replace(texts, tokens=tokens, features=features)


def padded(tokens: Sequence[Int64]) -> dict[str, Tensor]:
    """Return the ids of several texts as one batch, filled with 0."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(each) for each in tokens], batch_first=True)
    lengths = torch.tensor([len(each) for each in tokens])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}
