"""What each way costs: texts and tokens to embed, seconds, and milliseconds of a query."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from leafkit.evaluation.upgrade.ways import BRIDGED_DOCUMENTS, BRIDGED_QUERIES, CONTROL, OLD, REEMBED, STUDENT
from leafkit.space import Space
from leafkit.types import Encoder, Float32, Role, Teacher
from leafkit.vectors.adopted import AdoptedTeacher
from leafkit.vectors.cached import CachedEncoder

# Documents whose encoding is timed, and queries that are encoded alone: few, because an API charges for them.
TIMED_TEXTS, TIMED_QUERIES = 32, 16
_COUNTED = 1000  # texts whose tokens are counted


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one way costs for the whole index. None for what is not known.

    texts, tokens: what the new model has yet to embed. The texts that the measurement has embedded are left out only
        where all of them serve again: for the bridges.
    seconds: to embed ``texts`` at the rate that was measured.
    training_seconds: the training of the student, without the vectors it learned from.
    query_milliseconds: the median of encoding one query alone.
    rewrites: whether every vector of the index is written anew.
    """

    texts: int
    tokens: int | None
    seconds: float | None
    query_milliseconds: float | None
    training_seconds: float | None = None
    rewrites: bool = False


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """What embedding with the new model takes: ``texts_per_second``, and ``tokens_per_text``; None if unknown."""

    texts_per_second: float | None
    tokens_per_text: float | None
    query_milliseconds: float | None


class TimedTeacher:
    """``teacher``, with a count of the documents that it has encoded and of the seconds that this took."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.documents = 0
        self.seconds = 0.0

    @property
    def space(self) -> Space:
        """The teacher's space."""
        return self._teacher.space

    @property
    def signals(self) -> frozenset[str]:
        """What a student can learn from the teacher."""
        return self._teacher.signals

    @property
    def approximate(self) -> bool:
        """Whether a student, not a teacher, makes the vectors."""
        return getattr(self._teacher, "approximate", False)

    def encode(self, texts: Sequence[str], role: Role) -> Float32:
        """Return the vectors of ``texts``, (rows, dim)."""
        begun = time.perf_counter()
        vectors = self._teacher.encode(texts, role)
        if role == "document":
            self.documents += len(texts)
            self.seconds += time.perf_counter() - begun
        return vectors

    def measure(self, documents: Sequence[str], queries: Sequence[str], *, seed: int) -> NewModel:
        """Return the rate over all documents encoded so far, or over a few of ``documents`` if nearly none were.

        A teacher that only looks vectors up has no rate.
        """
        online = "online" in self.signals
        if online and self.documents < TIMED_TEXTS:
            chosen = numpy.random.default_rng(seed).permutation(len(documents))[:TIMED_TEXTS]
            self.encode([documents[row] for row in chosen.tolist()], "document")
        return NewModel(
            texts_per_second=self.documents / self.seconds if online else None,
            tokens_per_text=_tokens_per_text(self._teacher, documents[:_COUNTED]),
            query_milliseconds=median_milliseconds(self._teacher, queries) if online else None,
        )


def with_timer(teacher: Teacher) -> tuple[Teacher, TimedTeacher]:
    """Return ``teacher`` with a timer below its cache and its adoption, which say whose vectors it writes."""
    if isinstance(teacher, AdoptedTeacher | CachedEncoder):
        inner, timer = with_timer(teacher.teacher)
        return replace(teacher, teacher=inner), timer
    timer = TimedTeacher(teacher)
    return timer, timer


def median_milliseconds(encoder: Encoder, queries: Sequence[str]) -> float | None:
    """Return the median milliseconds of encoding one of the first few ``queries`` alone; None without any query."""
    times = []
    for query in queries[:TIMED_QUERIES]:
        begun = time.perf_counter()
        encoder.encode([query], "query")
        times.append(1000 * (time.perf_counter() - begun))
    return float(numpy.median(times)) if times else None


def _tokens_per_text(teacher: Teacher, texts: Sequence[str]) -> float | None:
    """Return the mean number of tokens that ``teacher`` reads of ``texts``; None if it does not show its tokenizer."""
    model: Any = getattr(teacher, "model", None)
    tokenizer: Any = getattr(model, "tokenizer", None)
    if tokenizer is None or not texts:
        return None
    longest, prompt = teacher.space.max_length, teacher.space.document_prompt
    ids = tokenizer([prompt + text for text in texts], truncation=longest is not None, max_length=longest)["input_ids"]
    return float(numpy.mean([len(one) for one in ids]))


def costs(
    documents: int, new: NewModel, *, old_milliseconds: float | None, student: tuple[float | None, float | None]
) -> dict[str, Cost]:
    """Return the cost of each way for an index of ``documents``.

    old_milliseconds: of a query by the old model.
    student: the milliseconds of a query by the student, and the seconds of its training.
    """
    tokens, rate = new.tokens_per_text, new.texts_per_second
    nothing = Cost(texts=0, tokens=0, seconds=0.0, query_milliseconds=new.query_milliseconds)
    return {
        OLD: replace(nothing, query_milliseconds=old_milliseconds),
        CONTROL: nothing,
        BRIDGED_QUERIES: nothing,
        BRIDGED_DOCUMENTS: replace(nothing, rewrites=True),
        STUDENT: replace(nothing, query_milliseconds=student[0], training_seconds=student[1]),
        REEMBED: replace(
            nothing,
            texts=documents,
            tokens=None if tokens is None else round(documents * tokens),
            seconds=None if rate is None else documents / rate,
            rewrites=True,
        ),
    }
