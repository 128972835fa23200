"""The texts of a run: read, deduplicated, and split into training and validation texts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy

from leafkit.errors import TextError
from leafkit.texts.options import TextOptions
from leafkit.texts.table import Sources, TextTable, distinct_texts
from leafkit.types import Role

HELD_OUT = 0.02
HELD_OUT_MOST = 2000

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The texts to train on and the texts to validate with; no text is in both."""

    train: TextTable
    valid: TextTable

    @property
    def texts(self) -> list[str]:
        """All texts, those to train on first. Row numbers of a run count through this list."""
        return self.train.texts + self.valid.texts

    @property
    def roles(self) -> list[Role]:
        """The roles of `texts`."""
        return self.train.roles + self.valid.roles


def read_corpus(texts: Sources, options: TextOptions, *, seed: int) -> Corpus:
    """Read the texts to train on and to validate with.

    Validation texts are those of ``options.valid``, or else 2 % of ``texts``, at most 2,000, drawn from ``seed``.
    Repeated texts of a role are removed. A text in both roles is held out in both. Raises `TextError` if no text is
    left to train on or to validate with.
    """
    everything = distinct_texts(texts, options)
    if "query" not in everything.roles:
        logger.warning(
            "all %d texts are documents, but a student that encodes queries should learn from queries. Add query:FILE, "
            "or sentences:FILE to use sentences of documents as queries.",
            len(everything),
        )
    if options.valid is None:
        return _split(everything, seed)
    held_out = distinct_texts(options.valid, replace(options, queries=None, documents=None), pairs=False)
    train = _without(everything, set(held_out.texts))
    if len(train) < len(everything):
        logger.warning(
            "%d training texts are also validation texts and are left out of training", len(everything) - len(train)
        )
    if not train.texts:
        raise TextError(
            "every training text is also a validation text, so nothing is left to train on. Give more texts, or "
            "other validation texts."
        )
    return Corpus(train=train, valid=held_out)


def with_training_texts(corpus: Corpus, train: TextTable) -> Corpus:
    """Return ``corpus`` with the training texts ``train``, but for those that are validation texts."""
    held_out = set(corpus.valid.texts)
    return replace(corpus, train=train if held_out.isdisjoint(train.texts) else _without(train, held_out))


def _split(everything: TextTable, seed: int) -> Corpus:
    distinct = list(dict.fromkeys(everything.texts))
    count = min(HELD_OUT_MOST, max(1, round(HELD_OUT * len(distinct))))
    if len(distinct) <= count:
        raise TextError(
            f"got {len(distinct)} distinct texts; expected at least 2, one to train on and one to validate with. "
            "Give more texts."
        )
    # A text in both roles is held out in both: a document of one sentence is its own query in sentences:FILE.
    chosen = {distinct[place] for place in numpy.random.default_rng(seed).permutation(len(distinct))[:count]}
    rows = [row for row, text in enumerate(everything.texts) if text in chosen]
    return Corpus(train=_without(everything, chosen), valid=everything.choose(rows))


def _without(everything: TextTable, held_out: set[str]) -> TextTable:
    """Return the texts that are not in ``held_out``; counts and repetitions stay those of all texts."""
    train = everything.choose([row for row, text in enumerate(everything.texts) if text not in held_out])
    train.counts, train.repeated = everything.counts, everything.repeated
    return train
