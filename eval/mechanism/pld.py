"""PLD: the order of the teacher's neighbours, with ranks weighted by the teacher's probabilities."""

from __future__ import annotations

from eval.mechanism.figures import neighbour_order, overlap
from eval.mechanism.lab import Lab

CLAIM = "A ranking loss weighted by the teacher's probabilities keeps the teacher's order better than equal weights do."
PREMISE = "The order of 50 neighbours is asked for, and 256 texts are ranked, most of them far away."
CONTROL = "ListMLE: the same ranking loss with equal weights for all ranks, at the same gradient pull."
FIGURE = "Kendall tau of the teacher's 50 nearest held-out texts; arms with overlap give overlap@10 instead"
ARMS = ("pld", "listmle", "kl", "leaf", "pld overlap", "listmle overlap", "kl overlap", "leaf overlap")

PULL = 0.3
METHODS = {
    "pld": "pld",
    # At this temperature, the teacher's probabilities are equal.
    "listmle": "pld:temperature=1e9",
    "kl": "taid:start=1,adaptive=false,anchors=texts,count=256",
    "leaf": "leaf",
}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return order and overlap of LEAF with each loss."""
    train, held_out = lab.texts("mix", seed=seed)
    figures = {}
    for arm, method in METHODS.items():
        methods = ["leaf"] if arm == "leaf" else ["leaf", method]
        pulls = {} if arm == "leaf" else {method.partition(":")[0]: PULL}
        vectors = lab.train(methods, train, seed=seed, pulls=pulls).encode(held_out)
        figures[arm] = neighbour_order(vectors, held_out.vectors)
        figures[f"{arm} overlap"] = overlap(vectors, held_out.vectors)
    return figures
