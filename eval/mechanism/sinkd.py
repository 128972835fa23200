"""SinKD: transport between the distributions of a batch, beside KL divergence text by text."""

from __future__ import annotations

from eval.mechanism.figures import overlap
from eval.mechanism.lab import Lab

CLAIM = "A Sinkhorn distance over the batch transfers more than KL divergence text by text, and more in larger batches."
PREMISE = "Distributions over 64 anchors that overlap little at the start: the student has 12 hidden units."
CONTROL = "Plain KL divergence over the same anchors at the same gradient pull."
FIGURE = "overlap@10 on held-out texts"
ARMS = ("sinkd", "kl", "leaf", "sinkd, batch 128", "leaf, batch 128")

PULL = 0.3
KL = "taid:start=1,adaptive=false"


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the overlap of LEAF with each loss, after 600 steps."""
    train, held_out = lab.texts("banking77", seed=seed)
    jobs = {
        "sinkd": (["leaf", "sinkd"], 32),
        "kl": (["leaf", KL], 32),
        "leaf": (["leaf"], 32),
        "sinkd, batch 128": (["leaf", "sinkd"], 128),
        "leaf, batch 128": (["leaf"], 128),
    }
    figures = {}
    for arm, (methods, batch_size) in jobs.items():
        pulls = {method.partition(":")[0]: PULL for method in methods[1:]}
        student = lab.train(methods, train, seed=seed, pulls=pulls, width=12, batch_size=batch_size)
        figures[arm] = overlap(student.encode(held_out), held_out.vectors)
    return figures
