"""What the probes of a training see at a validation, computed when it is first read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.methods.ask import Ask
from leafkit.methods.batch import TokenStates
from leafkit.methods.look import Look
from leafkit.methods.method import Probe
from leafkit.training.corpus import Corpus
from leafkit.types import Float32, Int64, Role

logger = logging.getLogger("leafkit")


@dataclass(eq=False, kw_only=True)
class HeldOutLook:
    """The held-out texts at one validation; see `leafkit.methods.look.Look`.

    ``student`` and ``teacher`` are known from the validation. ``texts`` and ``labels`` are those of ``corpus``, None in
    a process that did not read the texts. ``rate`` returns the learning rate of a step.
    ``read_tokens`` returns the token states of some of the texts. ``encode_texts`` returns the student's vectors of any
    texts.
    """

    student: Float32
    teacher: Float32
    methods: Sequence[str]
    step: int
    steps: int
    validations: int
    rate: Callable[[int], float]
    history: Sequence[Mapping[str, Any]]
    corpus: Corpus | None
    read_tokens: Callable[[Int64], TokenStates]
    ask: Ask | None
    encode_texts: Callable[[Sequence[str], Sequence[Role]], Float32]

    @property
    def rates(self) -> NDArray[numpy.float64]:
        """The learning rates of all steps of the training, (steps,)."""
        return numpy.array([self.rate(step) for step in range(self.steps)])

    @property
    def texts(self) -> Sequence[str]:
        """The texts, (rows,)."""
        return self._corpus.valid.texts

    @property
    def labels(self) -> Int64:
        """The classes, (rows,), numbered as those of the training texts; -1 for a text without a known label."""
        return self._corpus.valid.label_ids(self._corpus.train)

    def encode(self, texts: Sequence[str], roles: Sequence[Role]) -> Float32:
        """Return the student's vectors of any ``texts``, (texts, dim); ``roles`` are theirs, in the same order."""
        return self.encode_texts(texts, roles)

    def tokens(self, rows: Int64) -> TokenStates:
        """Return the last token states of both sides for the held-out ``rows``, without gradients."""
        if len(rows) and not 0 <= numpy.min(rows) <= numpy.max(rows) < len(self.student):
            raise IndexError(f"a probe asks for texts outside the {len(self.student)} held-out texts")
        return self.read_tokens(rows)

    @property
    def _corpus(self) -> Corpus:
        if self.corpus is None:
            raise TypeError("this process did not read the texts")
        return self.corpus


def observe(probes: Mapping[str, Probe], look: Look) -> dict[str, dict[str, Any]]:
    """Return the figures of the ``probes`` that are due, by name; log the events that they report."""
    found = {}
    for name, probe in probes.items():
        if probe.every and len(look.history) % probe.every == 0:
            found[name] = probe.observe(look)
            for event in found[name].get("events", ()):
                logger.warning("%s at step %d: %s", name, look.step, event)
    return found
