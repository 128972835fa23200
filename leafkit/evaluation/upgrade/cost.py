"""What each way costs: texts and tokens to embed, seconds, and milliseconds of a query."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy

from leafkit.evaluation.upgrade.ways import BRIDGED_DOCUMENTS, BRIDGED_QUERIES, CONTROL, OLD, REEMBED, STUDENT
from leafkit.types import Encoder, Float32, Teacher
from leafkit.vectors.adopted import exact_teacher
from leafkit.vectors.cached import CachedEncoder

# Documents whose encoding is timed, and queries that are encoded alone: few, because an API charges for them.
TIMED_TEXTS, TIMED_QUERIES = 32, 16
_COUNTED = 1000  # texts whose tokens are counted


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one way costs for the whole index. None for what is not known.

    texts, tokens, dollars: what the new model has to embed, and its price. The bridges need no more than the texts
        that the measurement has embedded.
    seconds: to embed ``texts`` at the rate that was measured.
    training_seconds: the training of the student, without the vectors it learned from.
    query_milliseconds: the median of encoding one query alone.
    rewrites: whether every vector of the index is written anew.
    """

    texts: int
    tokens: int | None
    dollars: float | None
    seconds: float | None
    query_milliseconds: float | None
    training_seconds: float | None = None
    rewrites: bool = False


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """What embedding with the new model takes; None for what is not known.

    dollars_per_token: of an API, from its table of prices.
    """

    texts_per_second: float | None
    tokens_per_text: float | None
    dollars_per_token: float | None
    query_milliseconds: float | None


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How many ``texts`` a model encoded, without those that the cache held, in how many ``seconds``."""

    texts: int
    seconds: float


def encode_timed(encoder: Encoder, documents: Sequence[str]) -> tuple[Float32, Timing]:
    """Return the vectors of ``documents``, (documents, dim), and how long those took that were not cached."""
    known = 0
    if isinstance(encoder, CachedEncoder):
        known = int((encoder.store.rows(documents, "document") >= 0).sum())
    begun = time.perf_counter()
    vectors = encoder.encode(documents, "document")
    return vectors, Timing(texts=len(documents) - known, seconds=time.perf_counter() - begun)


def measure_model(
    encoder: Teacher, timing: Timing, documents: Sequence[str], queries: Sequence[str], *, seed: int
) -> NewModel:
    """Return what embedding with ``encoder`` takes, without its cache.

    timing: of the encoding of ``documents``. If the cache held nearly all of them, a few are encoded again to be timed.
    A teacher that only looks vectors up has no rate.
    """
    model = exact_teacher(encoder.teacher if isinstance(encoder, CachedEncoder) else encoder)
    online = "online" in model.signals
    if online and timing.texts < TIMED_TEXTS:
        chosen = numpy.random.default_rng(seed).permutation(len(documents))[:TIMED_TEXTS]
        _, timing = encode_timed(model, [documents[int(row)] for row in chosen])
    price: Any = getattr(model, "price", None)
    return NewModel(
        texts_per_second=timing.texts / timing.seconds if online else None,
        tokens_per_text=_tokens_per_text(model, documents[:_COUNTED]),
        dollars_per_token=None if price is None else price.of(1),
        query_milliseconds=median_milliseconds(model, queries) if online else None,
    )


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
    count: Any = getattr(teacher, "count", None)
    if count is not None:  # of a teacher behind an API
        return float(numpy.mean(count(texts, ["document"] * len(texts))[1]))
    model: Any = getattr(teacher, "model", None)
    tokenizer: Any = getattr(model, "tokenizer", None)
    if tokenizer is None:
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
    rate, price = new.texts_per_second, new.dollars_per_token
    tokens = None if new.tokens_per_text is None else round(documents * new.tokens_per_text)
    nothing = Cost(texts=0, tokens=0, dollars=None, seconds=0.0, query_milliseconds=new.query_milliseconds)
    return {
        OLD: replace(nothing, query_milliseconds=old_milliseconds),
        CONTROL: nothing,
        BRIDGED_QUERIES: nothing,
        BRIDGED_DOCUMENTS: replace(nothing, rewrites=True),
        STUDENT: replace(nothing, query_milliseconds=student[0], training_seconds=student[1]),
        REEMBED: replace(
            nothing,
            texts=documents,
            tokens=tokens,
            dollars=None if tokens is None or price is None else tokens * price,
            seconds=None if rate is None else documents / rate,
            rewrites=True,
        ),
    }
