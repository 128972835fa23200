"""Texts of the laboratory as words: a student that reads the state of each word, and the teacher's states of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy
import torch
from torch import Tensor
from torch.nn.functional import gelu, normalize

from eval.mechanism.lab import BATCH_TOKENS, TOKENS, Lab
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job, Trained, _Training, lab_plan
from leafkit.methods.batch import Batch, Outputs, TokenStates, View
from leafkit.methods.method import Method
from leafkit.methods.plan import Plan
from leafkit.methods.setting import Setting
from leafkit.teachers.open import open_teacher
from leafkit.texts.batches import length_batches
from leafkit.types import Float32

# The words of a text whose states are kept.
WORDS = 24


class WordStudent(Perceptron):
    """A `Perceptron` on each word of ``features`` (rows, length, inputs), 0 for padding, and on the mean of the words.

    `Outputs.states` holds the states of the words after each layer, and `Outputs.tokens` the last of them; the other
    states are their means.
    """

    def outputs(self, features: Tensor) -> Outputs:
        """Return all stages of the forward pass of ``features``, (rows, length, inputs)."""
        words = word_mask(features)[..., None]
        states = [features]
        for layer in self.layers:
            states.append(gelu(layer(states[-1])))
        means = tuple((each * words).sum(dim=1) / words.sum(dim=1).clamp(min=1) for each in states[1:])
        raw = self.head(means[-1])
        return Outputs(
            student=normalize(raw, dim=-1),
            raw=raw,
            hidden=means[-1],
            layers=means,
            states=tuple(states[1:]),
            tokens=states[-1],
        )


class WordEmbeddings:
    """A live teacher that knows the features of words alone, as its token embeddings."""

    depth = 0

    def states(self, features: dict[str, Tensor], layer: int) -> Tensor:
        """Return the features of the words, (rows, length, inputs), as the states after layer 0."""
        if layer:
            raise ValueError(f"the layer is {layer}; expected 0, the only one that the laboratory has")
        return features["features"]


class _WordTraining(_Training):
    """A training of a `WordStudent` on texts with features of words, with the teacher's states of the same words."""

    def __init__(self, plan: Plan, texts: LabTexts, job: Job, taught: Float32) -> None:
        self._taught = taught
        super().__init__(plan, texts, job, None)

    def _new_student(self, seed: int, depth: int) -> Perceptron:
        texts, width = self.texts, self.job.width
        inputs, dim = texts.features.shape[-1], texts.vectors.shape[1]
        student = WordStudent(inputs, width=width, depth=depth, dim=dim, seed=seed)
        student.start_head(texts.features, texts.vectors)
        return student

    def _setting(self, plan: Plan) -> Setting:
        return replace(super()._setting(plan), live=cast(Any, WordEmbeddings()))

    def _pass(self, view: View) -> Batch:
        outputs = vars(self.student(view.features))
        same = {name: value for name, value in vars(view).items() if name != "embed"}
        tokens = TokenStates(
            student=outputs.pop("tokens"),
            teacher=torch.from_numpy(self._taught[view.rows.numpy()]),
            mask=word_mask(view.features["features"]),
        )
        return Batch(**outputs, **same, tokens=tokens)


def train_words(methods: Sequence[str | Method], texts: LabTexts, taught: Float32, job: Job) -> Trained:
    """Train a student on ``texts`` of `word_texts` with ``methods``; ``taught`` are the teacher's states of words."""
    return _WordTraining(lab_plan(methods), texts, job, taught).run()


@torch.inference_mode()
def word_texts(lab: Lab, texts: LabTexts, layer: int = 1) -> tuple[LabTexts, Float32]:
    """Return ``texts`` with features of each word, and the teacher's last states of the same words.

    Features, (texts, length, inputs), are the states after ``layer`` layers, standardised over the words. Both are 0
    for padding; special tokens, and words after the first `WORDS`, are left out.
    """
    model: Any = open_teacher(lab.teacher)
    tokenizer, transformer = model.model.tokenizer, copy.deepcopy(model.model[0].auto_model).float()
    tokens = tokenizer(list(texts.texts), truncation=True, max_length=TOKENS, return_special_tokens_mask=True)
    special = [numpy.array(each, dtype=bool) for each in tokens.pop("special_tokens_mask")]
    shape = len(texts), min(WORDS, max(int((~each).sum()) for each in special)), transformer.config.hidden_size
    features, taught = (numpy.zeros(shape, dtype=numpy.float32) for _ in range(2))
    for rows in length_batches(numpy.array([len(each) for each in special]), tokens=BATCH_TOKENS, rows=256):
        batch = tokenizer.pad({name: [tokens[name][row] for row in rows] for name in tokens}, return_tensors="pt")
        states = transformer(**batch, output_hidden_states=True).hidden_states
        for place, row in enumerate(rows):
            kept = numpy.flatnonzero(~special[row])[: shape[1]]
            features[row, : len(kept)] = states[layer][place, kept].numpy()
            taught[row, : len(kept)] = states[-1][place, kept].numpy()
    words = (features != 0).any(axis=-1)
    mean, spread = features[words].mean(axis=0), features[words].std(axis=0)
    features[words] = (features[words] - mean) / numpy.maximum(spread, 1e-6)
    return replace(texts, features=features), taught


def word_mask(features: Tensor) -> Tensor:
    """Return which rows of ``features`` (rows, length, inputs) are words and not padding, (rows, length)."""
    return (features != 0).any(dim=-1)
