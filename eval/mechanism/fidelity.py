"""Fidelity: which figure of a student's vectors says most about its search."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy

from eval.mechanism.figures import ndcg
from eval.mechanism.lab import Lab
from leafkit.methods.probes.fidelity import Fidelity

CLAIM = "Agreement of neighbours says more about a student's search than the mean cosine does."
PREMISE = "Twelve students that err in different ways: six losses, two sizes, 300 steps."
CONTROL = "The mean cosine with the teacher, on the same held-out queries."
FIGURE = "Spearman correlation of a figure with nDCG@10 of 500 queries among the teacher's documents"
FIGURES = ("overlap", "cosine_mean", "rank_biased_overlap", "kendall_tau", "cka", "rsa")
ARMS = ("overlap", "cosine", *FIGURES[2:])

LOSSES = {
    "leaf": ["leaf"],
    "cosine": ["leaf:distance=cosine"],
    "kl": ["taid:start=1,adaptive=false,weight=1,anchors=texts,count=256"],
    "order": ["pld:weight=1"],
    "clusters": ["leaf", "nd:weight=2"],
    "relation": ["leaf", "mixup:share=0,relation=true"],
}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the correlation of each figure with nDCG@10."""
    from scipy.stats import spearmanr

    texts = lab.all_texts("squad")
    queries = numpy.random.default_rng([seed, 53]).permutation(numpy.flatnonzero(texts.roles == 0))
    documents, held_out = numpy.flatnonzero(texts.roles == 1), queries[:500]
    train = texts.choose(numpy.concatenate([queries[500:], documents]))
    whole = texts.choose(numpy.concatenate([held_out, documents]))
    pairs = whole.pairs - [0, len(held_out)]
    rows: list[dict[str, Any]] = []
    for methods in LOSSES.values():
        for width in (16, 96):
            student = lab.train(methods, train, seed=seed, steps=300, width=width)
            vectors = student.encode(whole)[: len(held_out)]
            look: Any = SimpleNamespace(student=vectors, teacher=whole.vectors[: len(held_out)], history=[])
            found = Fidelity(texts=300).observe(look)
            rows.append(found | {"task": ndcg(vectors, whole.vectors[len(held_out) :], pairs)})
    task = [row["task"] for row in rows]
    # scipy's result is a named tuple whose fields its stubs do not declare.
    found_by_name: dict[str, Any] = {name: spearmanr([row[name] for row in rows], task) for name in FIGURES}
    correlations = {name: float(found.statistic) for name, found in found_by_name.items()}
    return correlations | {"cosine": correlations["cosine_mean"]}
