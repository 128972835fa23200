"""Mixup: spliced texts with blended vectors, and the relation loss, each alone and together."""

from __future__ import annotations

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab

CLAIM = "Mixing training texts makes more of few texts, together with a loss on the relations of a batch."
PREMISE = "Few texts: 300, seen 64 times by a student of token embeddings, for which a blend of vectors is right."
CONTROL = "LEAF with the same texts and steps, without mixing."
FIGURE = "mean cosine on held-out texts"
ARMS = ("splice and relation", "leaf", "splice", "relation", "splice all")

METHODS = {
    "splice and relation": ["leaf", "mixup:share=0.4,relation=true"],
    "leaf": ["leaf"],
    "splice": ["leaf", "mixup:share=0.4"],
    "relation": ["leaf", "mixup:share=0,relation=true"],
    "splice all": ["leaf", "mixup:share=1"],
}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of each arm."""
    train, held_out = lab.table_texts("mix").split(seed, 300, 500)
    figures = {}
    for arm, methods in METHODS.items():
        figures[arm] = cosine(lab.train(methods, train, seed=seed).encode(held_out), held_out.vectors)
    return figures
