"""KnFu in small: clients that fuse what similar clients know, against the mean of all clients."""

from __future__ import annotations

from typing import Any, cast

import numpy

from eval.mechanism.lab import Lab
from eval.mechanism.rounds import LabRounds
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job
from leafkit.methods.topologies.knfu import Fusion, Knfu

CLAIM = "A client that learns from the vectors of similar clients alone serves its own texts better than by their mean."
PREMISE = "1,400 texts of eight sources, divided among five clients by Dirichlet(0.1) or (1), and 600 public texts."
CONTROL = "The mean of the vectors of all clients, with the same rounds, steps and public texts."
FIGURE = (
    "mean over the clients of the cosine on held-out texts of their own sources, Dirichlet(0.1) and (1); `own` fuses "
    "nothing, `all` fuses all clients by distance, `unlike` gives two clients two layers, `large` has 630 texts "
    "for each client, and three times the steps"
)
FUSIONS: tuple[Fusion, ...] = ("neighbours", "uniform", "own", "all")
# The concentration of the division, the training texts, the steps, and the peer of some clients.
CASES = {
    "0.1": (0.1, 2000, 150, ""),
    "1": (1.0, 2000, 150, ""),
    "100": (100.0, 2000, 150, ""),
    "0.1, unlike": (0.1, 2000, 150, "layers=2"),
    "0.1, large": (0.1, 4500, 450, ""),
}
ARMS = ("knfu", "uniform", *(f"{case}: {fusion}" for case in CASES for fusion in FUSIONS))


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the figure of each way to fuse, for each case, and the means over the two skewed divisions."""
    figures = {}
    for case, (skew, texts, steps, peer) in CASES.items():
        train, held_out = lab.texts("mix", seed=seed, train=texts, held_out=1000)
        for fusion in FUSIONS:
            method = Knfu(clients=5, skew=skew, public=0.3, fusion=fusion, peer=peer)
            figures[f"{case}: {fusion}"] = own_cosine(method, train, held_out, Job(seed=seed, steps=steps))
    arms = zip(ARMS[:2], FUSIONS[:2], strict=True)
    return {arm: (figures[f"0.1: {fusion}"] + figures[f"1: {fusion}"]) / 2 for arm, fusion in arms} | figures


def own_cosine(method: Knfu, train: LabTexts, held_out: LabTexts, job: Job) -> float:
    """Return the mean over the clients of the cosine on ``held_out``, weighed by the sources of their own texts."""
    rounds = LabRounds(train, job)
    names = method.federate(cast(Any, rounds), range(method.clients))
    sources = int(train.domains.max()) + 1
    found = []
    for client, rows in enumerate(method.divide(rounds.setting)[1]):
        shares = numpy.bincount(train.domains[rows], minlength=sources) / len(rows)
        cosines = (rounds.trained(names[client]).encode(held_out) * held_out.vectors).sum(axis=1)
        means = [cosines[held_out.domains == source].mean() for source in range(sources)]
        found.append(float(shares @ numpy.array(means)))
    return float(numpy.mean(found))
