"""The texts of a run: read, each kept once, some held out for validation."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy

from leafkit.errors import TextError
from leafkit.texts.options import TextOptions
from leafkit.texts.table import Sources, TextTable, distinct_texts

HELD_OUT = 0.02
HELD_OUT_MOST = 2000

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The texts to train on and those held out; no text is in both."""

    train: TextTable
    valid: TextTable


def read_corpus(texts: Sources, options: TextOptions, *, seed: int) -> Corpus:
    """Texts to train on and to validate with: ``options.valid``, or a seeded cut of 2 % of ``texts``, at most 2,000.

    A text counts once in each role, and is held out in all that it has.
    Raises `TextError` if nothing is left to train on or to validate with.
    """
    everything = distinct_texts(texts, options)
    if "query" not in everything.roles:
        logger.warning(
            "all %d texts are documents: a student that is to encode queries learns them from queries (query:FILE, or "
            "sentences:FILE for sentences of documents)",
            len(everything),
        )
    if options.valid is None:
        return _cut(everything, seed)
    held_out = distinct_texts(options.valid, replace(options, queries=None, documents=None))
    train = _without(everything, set(held_out.texts))
    if len(train) < len(everything):
        logger.warning("%d texts are held out for validation and left out of training", len(everything) - len(train))
    if not train.texts:
        raise TextError("every training text is also a validation text; nothing is left to train on")
    return Corpus(train=train, valid=held_out)


def _cut(everything: TextTable, seed: int) -> Corpus:
    distinct = list(dict.fromkeys(everything.texts))
    count = min(HELD_OUT_MOST, max(1, round(HELD_OUT * len(distinct))))
    if len(distinct) <= count:
        raise TextError(f"got {len(distinct)} distinct texts; wanted at least 2, to train on and to validate with")
    # A text in both roles is held out in both: a document of one sentence is its own query in sentences:FILE.
    secret = {distinct[place] for place in numpy.random.default_rng(seed).permutation(len(distinct))[:count]}
    held_out = [row for row, text in enumerate(everything.texts) if text in secret]
    return Corpus(train=_without(everything, secret), valid=everything.choose(held_out))


def _without(everything: TextTable, secret: set[str]) -> TextTable:
    """What is left to train on, with the counts of all."""
    train = everything.choose([row for row, text in enumerate(everything.texts) if text not in secret])
    train.counts, train.repeated = everything.counts, everything.repeated
    return train
