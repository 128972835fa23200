"""A generator without a network: counts of words and of pairs of words in the given texts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from leafkit.types import Float32

# What the counts of pairs, the words of the prompt and the counts of words weigh; the rest is a uniform distribution.
WEIGHTS = (0.6, 0.25, 0.149)
# How often a text that is learned later counts.
LEARNED = 5
END = 0


class Ngrams:
    """Writes word by word: the next word depends on the word before (``order`` 2) or not (1), and on the prompt.

    See `leafkit.methods.generator.Generator` for the functions.
    """

    licence = "that of the given texts"

    def __init__(self, texts: Sequence[str], *, order: int = 2) -> None:
        """Count the words of ``texts``."""
        self.name = {1: "unigrams", 2: "bigrams"}[order]
        self._order = order
        words = Counter(word for text in texts for word in text.split())
        self.tokens = ["", *words]
        self.ends = frozenset({END})
        self._places = {word: place for place, word in enumerate(self.tokens)}
        self._words = numpy.zeros(len(self.tokens))
        self._pairs: dict[int, Counter[int]] = {}
        self._count(texts, 1)

    def log_probabilities(self, prompt: str, written: Sequence[tuple[int, ...]]) -> Float32:
        """Return the log-probability of each next word after ``prompt`` and ``written``, (written, words)."""
        pairs, of_prompt, words = WEIGHTS
        known = [self._places[word] for word in prompt.split() if word in self._places]
        base = numpy.full(len(self.tokens), (1 - sum(WEIGHTS)) / len(self.tokens))
        base += (words if known else words + of_prompt) * self._words / self._words.sum()
        if known:
            base += of_prompt * numpy.bincount(known, minlength=len(self.tokens)) / len(known)
        return numpy.log(numpy.stack([self._next(base, pairs, ids) for ids in written])).astype(numpy.float32)

    def _next(self, base: NDArray[numpy.float64], weight: float, ids: tuple[int, ...]) -> NDArray[numpy.float64]:
        """Return the distribution of the word after ``ids``; the end is as likely after any word as in the texts."""
        row = base.copy()
        follows = self._pairs.get(ids[-1] if ids else END) if self._order == 2 else None
        if follows:
            row[list(follows)] += weight * numpy.array(list(follows.values())) / follows.total()
        else:
            row += weight * self._words / self._words.sum()
        return row / row.sum()

    def text(self, ids: Sequence[int]) -> str:
        """Return the words ``ids`` as a text."""
        return " ".join(self.tokens[place] for place in ids if place != END)

    def learn(self, examples: Sequence[tuple[str, str]], seed: int) -> None:
        """Count the second text of each of ``examples`` (prompt, text) several times, but for words that are new."""
        self._count([text for _, text in examples], LEARNED)

    def _count(self, texts: Sequence[str], times: int) -> None:
        for text in texts:
            ids = [END, *(self._places[word] for word in text.split() if word in self._places), END]
            numpy.add.at(self._words, ids[1:], times)
            for before, after in itertools.pairwise(ids):
                self._pairs.setdefault(before, Counter())[after] += times
