"""Statements that are true, false or neither, made of the definitions of WordNet among the training texts."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from eval import DATA
from eval.mechanism.texts import _lines
from leafkit.types import Int64

CLASSES = ("false", "neither", "true")
# The characters of a definition, and of the letters that decide the next one of an invented word.
LONGEST, SHORTEST, CONTEXT = 90, 15, 2


@dataclass(frozen=True, kw_only=True)
class Statements:
    """``texts`` such as ``bedrock means solid rock``, with ``labels`` (texts,) that number `CLASSES`.

    No word and no definition is in two statements.
    """

    texts: tuple[str, ...]
    labels: Int64

    @property
    def identity(self) -> str:
        """A hash of the texts."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()[:16]


def wordnet_statements(count: int, data: Path = Path(DATA)) -> Statements:
    """Return ``count`` statements, a third of each class: a word, that of another one or an invented one is defined.

    Raises `InputError` if the folder ``data`` does not have the training texts.
    """
    entries = _entries(data)
    order = numpy.random.default_rng(0).permutation(len(entries))
    words, definitions = ([entries[row][part] for row in order] for part in (0, 1))
    third = count // 3
    known = {word for word, _ in entries}
    # The words of the false statements are those of entries whose definitions are not used.
    true, false = slice(0, third), slice(third, 2 * third)
    others = slice(2 * third, 3 * third)
    made = {
        "true": (words[true], definitions[true]),
        "false": (words[false], definitions[others]),
        "neither": (invented_words(words, third, known), definitions[3 * third : 4 * third]),
    }
    texts = [f"{word} means {meaning}" for name in CLASSES for word, meaning in zip(*made[name], strict=True)]
    return Statements(texts=tuple(texts), labels=numpy.repeat(numpy.arange(len(CLASSES)), third))


def invented_words(words: Sequence[str], count: int, known: set[str]) -> list[str]:
    """Return ``count`` words that are not ``known``, whose letters follow each other as in ``words``."""
    following: dict[str, list[str]] = defaultdict(list)
    for word in words:
        padded = " " * CONTEXT + word + "\n"
        for place in range(CONTEXT, len(padded)):
            following[padded[place - CONTEXT : place]].append(padded[place])
    draw = numpy.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < count:
        word = " " * CONTEXT
        while not word.endswith("\n"):
            options = following[word[-CONTEXT:]]
            word += options[draw.integers(len(options))]
        word = word.strip()
        if 4 <= len(word) <= 12 and word not in known:
            found[word] = None
    return list(found)


def _entries(data: Path) -> list[tuple[str, str]]:
    """Return words with their definitions, each word once."""
    found: dict[str, str] = {}
    for row in _lines(data / "train" / "train-00.jsonl.gz"):
        if row["source"] != "wordnet":
            continue
        names, _, gloss = row["text"].partition(": ")
        word, meaning = names.split(", ")[0], gloss.split(";")[0].strip()
        if word.isalpha() and word.islower() and SHORTEST <= len(meaning) <= LONGEST:
            found.setdefault(word, meaning)
    return list(found.items())
