"""Symbolic KD in small: bigrams write, and a critic keeps what passes for a given text.

The generator is the plain one that needs no model, so that the critic is what is tested. A language model as generator
is measured by the screen.
"""

from __future__ import annotations

from typing import Any

import numpy

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from eval.mechanism.writing import LabAsk, prepared, table_of
from leafkit.methods.writers.symbolic import Symbolic
from leafkit.types import ROLES, Role

CLAIM = "Written texts that a critic kept train better than as many unfiltered ones, the more so the stricter it is."
PREMISE = "Few texts: 700 of eight sources, of which bigrams are counted and queries written."
CONTROL = "As many texts by the same bigrams without a critic, which are also the plain rival."
FIGURE = "mean cosine on held-out texts; every arm but leaf adds equally many texts, at most 300, to the 700"
ARMS = ("critic, recall 0.5", "bigrams", "critic, recall 0.8", "unigrams", "leaf", "other given texts", "texts added")

GIVEN, HELD_OUT, MOST, STEPS = 700, 500, 300, 400
FIELDS: dict[str, Any] = {"each": 5, "longest": 20}
WRITERS = {
    "critic, recall 0.5": Symbolic(recall=0.5, **FIELDS),
    "critic, recall 0.8": Symbolic(recall=0.8, **FIELDS),
    "bigrams": Symbolic(recall=1, **FIELDS),
    "unigrams": Symbolic(generator="unigrams", recall=1, **FIELDS),
}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each arm, and the number of texts that were added."""
    everything, held_out = lab.texts("mix", seed=seed, train=GIVEN + 2 * MOST, held_out=HELD_OUT)
    given, others = everything.choose(numpy.arange(GIVEN)), everything.choose(numpy.arange(GIVEN, len(everything)))
    table, ask = table_of(given), LabAsk(lab)
    added: dict[str, list[tuple[str, Role]]] = {}
    for arm, writer in WRITERS.items():
        written = writer.written(table, ask, seed, MOST)
        added[arm] = [(one.text, one.role) for one in written]
    # Written texts are queries, so the other given texts are queries as well.
    added["other given texts"] = [one for one in _pairs(others) if one[1] == "query"]
    count = min(map(len, added.values()))
    parts = {arm: [*_pairs(given), *texts[:count]] for arm, texts in added.items()} | {"leaf": _pairs(given)}
    texts, held_out = prepared(lab, parts, held_out)
    figures = {
        arm: cosine(lab.train(["leaf"], part, seed=seed, steps=STEPS).encode(held_out), held_out.vectors)
        for arm, part in texts.items()
    }
    return figures | {"texts added": count}


def _pairs(texts: LabTexts) -> list[tuple[str, Role]]:
    return [(text, ROLES[role]) for text, role in zip(texts.texts, texts.roles, strict=True)]
