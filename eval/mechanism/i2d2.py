"""I2D2 in small: queries for documents without any, by bigrams that learn from the queries that find their document.

The generator is the plain one that needs no model. A language model as generator is measured by the screen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy

from eval.mechanism.figures import cosine, ndcg
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from eval.mechanism.writing import LabAsk, prepared, table_of
from leafkit.methods.writers.i2d2 import I2d2, Rounds
from leafkit.methods.written import Written, distinct_pairs, plain_sentences
from leafkit.types import ROLES, Role

CLAIM = "Queries of a generator that learned from its kept queries are kept more often, and train better."
PREMISE = "Documents without queries: 120 paragraphs of SQuAD; the figure is that of real queries for other paragraphs."
CONTROL = "As many sentences of the same documents, the plain rival."
FIGURE = "mean cosine of held-out real queries; every arm but leaf adds equally many queries to the documents"
ARMS = (
    "i2d2",
    "sentences",
    "round 0",
    "without critic",
    "leaf",
    "real queries",
    *(f"nDCG@10, {arm}" for arm in ("i2d2", "sentences", "round 0", "leaf", "real queries")),
    *(f"acceptance, round {place}" for place in range(3)),
    *(f"different pairs, round {place}" for place in (0, 2)),
    "queries added",
)

DOCUMENTS, HELD_OUT, MOST, STEPS = 120, 500, 120, 300
WRITER = I2d2(width=2, most=14)


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return cosine and nDCG@10 of each arm, the acceptance of each round, and the number of queries."""
    everything = lab.all_texts("squad")
    draw = numpy.random.default_rng([seed, 73])
    documents = draw.permutation(numpy.flatnonzero(everything.roles == 1))
    own = everything.pairs[numpy.isin(everything.pairs[:, 1], documents[:DOCUMENTS])]
    pairs = draw.permutation(everything.pairs[~numpy.isin(everything.pairs[:, 1], documents[:DOCUMENTS])])[:HELD_OUT]
    given = everything.choose(documents[:DOCUMENTS])
    held_out = everything.choose(pairs[:, 0])
    table, ask = table_of(given), LabAsk(lab)
    rounds = Rounds(WRITER, table, ask, seed)  # pyright: ignore[reportArgumentType]
    figures: dict[str, float] = {}
    added: dict[str, list[Written]] = {}
    # What `Rounds.written` does, with the acceptance and the corpus of each round.
    order = numpy.random.default_rng([seed, 79]).permutation(len(rounds.documents))
    held, rest = order[:20], order[20:]
    for place in range(WRITER.rounds + 1):
        figures[f"acceptance, round {place}"] = rounds.acceptance(held)
        if place in (0, WRITER.rounds):
            made = rounds.queries(rest)
            figures[f"different pairs, round {place}"] = distinct_pairs([one.text for one in made])
            kept = rounds.kept(made)
            added["i2d2" if place else "round 0"] = kept
            if place:
                added["without critic"] = [replace(made[row]) for row in draw.permutation(len(made))]
        else:
            kept = rounds.kept(rounds.queries(rest[:40]))
        rounds.generator.learn([(rounds.prompt(one.seed), one.text) for one in kept], seed)
        rounds.round += 1
    queries: dict[str, list[str]] = {arm: [one.text for one in rows] for arm, rows in added.items()}
    queries["sentences"] = [one.text for one in plain_sentences(table, seed)]
    queries["real queries"] = [everything.texts[row] for row in draw.permutation(own[:, 0])]
    count = min(MOST, *map(len, queries.values()))
    base: list[tuple[str, Role]] = list(zip(table.texts, table.roles, strict=True))
    parts = {arm: [*base, *((text, ROLES[0]) for text in texts[:count])] for arm, texts in queries.items()}
    texts, held = prepared(lab, parts | {"leaf": base}, held_out)
    for arm, part in texts.items():
        figures |= _figures(lab, arm, part, held, everything, pairs, seed)
    return figures | {"queries added": count}


def _figures(
    lab: Lab, arm: str, part: LabTexts, held_out: LabTexts, everything: LabTexts, pairs: numpy.ndarray, seed: int
) -> dict[str, float]:
    """Return the cosine of held-out queries, and their nDCG@10 among the teacher's documents."""
    vectors = lab.train(["leaf"], part, seed=seed, steps=STEPS).encode(held_out)
    found = {arm: cosine(vectors, held_out.vectors)}
    if f"nDCG@10, {arm}" in ARMS:
        documents = numpy.flatnonzero(everything.roles == 1)
        place = numpy.searchsorted(documents, pairs[:, 1])
        right = numpy.column_stack([numpy.arange(len(pairs)), place])
        found[f"nDCG@10, {arm}"] = ndcg(vectors, everything.vectors[documents], right)
    return found
