"""The texts of a run: read, each kept once, some held out for validation."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath

import numpy

from leafkit.digest import text_key
from leafkit.errors import OptionError, TextError
from leafkit.texts.read import read_texts
from leafkit.types import Int64, Role, check_role

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]

HELD_OUT = 0.02
HELD_OUT_MOST = 2000

logger = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How rows are read: the arguments of `leafkit.read_texts`; ``role`` is for texts that have none.

    ``queries`` and ``documents`` bound how many texts of each role are taken, the first ones; None takes all.
    """

    role: str = "document"
    skip_bad: bool = False
    text_column: str | None = None
    id_column: str | None = None
    queries: int | None = None
    documents: int | None = None

    def __post_init__(self) -> None:
        """Raise `OptionError` for a bound below 0."""
        for name in ("queries", "documents"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise OptionError(f"{name} is {value}; wanted 0 or more")


@dataclass
class Texts:
    """Distinct texts in the order read; ``counts`` says how many by (role, source), ``repeated`` were left out.

    ``labels`` are what the column ``label`` says, None where it says nothing; ``domains`` are the sources.
    """

    texts: list[str] = field(default_factory=list)
    roles: list[Role] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0

    def __len__(self) -> int:
        """The number of texts."""
        return len(self.texts)

    def add(self, text: str, role: Role, key: bytes, *, label: str | None = None, domain: str = "") -> None:
        """Append one text."""
        self.texts.append(text)
        self.roles.append(role)
        self.keys.append(key)
        self.labels.append(label)
        self.domains.append(domain)

    def choose(self, rows: Sequence[int]) -> Texts:
        """The texts of ``rows`` alone, without their counts."""
        return Texts(
            texts=[self.texts[row] for row in rows],
            roles=[self.roles[row] for row in rows],
            keys=[self.keys[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            domains=[self.domains[row] for row in rows],
        )

    def label_ids(self) -> Int64:
        """The class of each text as a number, in alphabetical order; -1 where there is none."""
        numbers = {label: number for number, label in enumerate(sorted({x for x in self.labels if x is not None}))}
        return numpy.array([-1 if label is None else numbers[label] for label in self.labels], dtype=numpy.int64)

    def domain_ids(self) -> Int64:
        """The source of each text as a number, in alphabetical order."""
        numbers = {domain: number for number, domain in enumerate(sorted(set(self.domains)))}
        return numpy.array([numbers[domain] for domain in self.domains], dtype=numpy.int64)

    def signals(self) -> frozenset[str]:
        """What these texts offer a method: ``labels``, ``domains``, both or neither."""
        found = {"labels"} if any(label is not None for label in self.labels) else set()
        return frozenset(found | ({"domains"} if len(set(self.domains)) > 1 else set()))

    def digest(self) -> str:
        """A hash that differs when any text, role or their order does."""
        return hashlib.sha256(b"".join(self.keys)).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The texts to train on and those held out; no text is in both."""

    train: Texts
    valid: Texts


def read_corpus(texts: Sources, valid: Sources | None, options: TextOptions, *, seed: int) -> Corpus:
    """Texts to train on and to validate with: ``valid``, or a seeded cut of 2 % of ``texts``, at most 2,000.

    A text counts once in each role, and is held out in all that it has.
    Raises `TextError` if nothing is left to train on or to validate with.
    """
    everything = _distinct(texts, options)
    if "query" not in everything.roles:
        logger.warning(
            "all %d texts are documents: a student that is to encode queries learns them from queries (query:FILE, or "
            "sentences:FILE for sentences of documents)",
            len(everything),
        )
    if valid is None:
        return _cut(everything, seed)
    held_out = _distinct(valid, replace(options, queries=None, documents=None))
    train = _without(everything, set(held_out.texts))
    if len(train) < len(everything):
        logger.warning("%d texts are held out for validation and left out of training", len(everything) - len(train))
    if not train.texts:
        raise TextError("every training text is also a validation text; nothing is left to train on")
    return Corpus(train=train, valid=held_out)


def _cut(everything: Texts, seed: int) -> Corpus:
    distinct = list(dict.fromkeys(everything.texts))
    count = min(HELD_OUT_MOST, max(1, round(HELD_OUT * len(distinct))))
    if len(distinct) <= count:
        raise TextError(f"got {len(distinct)} distinct texts; wanted at least 2, to train on and to validate with")
    # A text in both roles is held out in both: a document of one sentence is its own query in sentences:FILE.
    secret = {distinct[place] for place in numpy.random.default_rng(seed).permutation(len(distinct))[:count]}
    held_out = [row for row, text in enumerate(everything.texts) if text in secret]
    return Corpus(train=_without(everything, secret), valid=everything.choose(held_out))


def _without(everything: Texts, secret: set[str]) -> Texts:
    """What is left to train on, with the counts of all."""
    train = everything.choose([row for row, text in enumerate(everything.texts) if text not in secret])
    train.counts, train.repeated = everything.counts, everything.repeated
    return train


def _distinct(sources: Sources, options: TextOptions) -> Texts:
    role = check_role(options.role)
    several = [sources] if isinstance(sources, str | PathLike) else list(sources)
    # All are opened before any is read: a misspelt last file must not be found after an hour.
    readers = [
        read_texts(s, skip_bad=options.skip_bad, text_column=options.text_column, id_column=options.id_column)
        for s in several
    ]
    found = Texts()
    seen: set[bytes] = set()
    left: dict[Role, int | None] = {"query": options.queries, "document": options.documents}
    for source, reader in zip(several, readers, strict=True):
        for text in reader:
            its = text.role or role
            if left[its] == 0:
                if not any(left.values()) and None not in left.values():
                    break
                continue
            key = text_key(its, text.content)
            if key in seen:
                found.repeated += 1
                continue
            seen.add(key)
            most = left[its]
            left[its] = None if most is None else most - 1
            label, domain = text.payload.get("label"), str(text.payload.get("source") or fspath(source))
            found.add(text.content, its, key, label=None if label is None else str(label), domain=domain)
            found.counts[its, domain] += 1
    if not found.texts:
        raise TextError(f"no texts in {', '.join(fspath(source) for source in several) or 'no sources'}")
    return found
