"""KD^3 in small: a crawl in which one text of ten is of the domain.

The students of the laboratory have no token embeddings, so the shifted views (``contrast``) are left out.
"""

from __future__ import annotations

import numpy

from eval.mechanism.figures import cosine, overlap
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts, RawTexts, read

CLAIM = "On crawled texts, the selected ones with the teacher's shared head teach the domain better than random ones."
PREMISE = "300 queries of Banking77, one labelled for each class, among 2,700 other texts of eight sources."
CONTROL = "LEAF on as many texts drawn at random from the crawl, for as many steps."
FIGURE = "mean cosine of held-out queries of Banking77; higher is better"
INSIDE, OUTSIDE, HELD_OUT, OF_BANKING, STEPS = 300, 2700, 1000, 4000, 400
KD3 = "kd3:anchors=labels,rho=0.8,every=50,contrast=0"
FEEDS = {
    "kd3": [KD3],
    "random texts": [],
    "without selection": [KD3.replace("rho=0.8", "rho=0")],
    "without alignment": [f"{KD3},aligned=0"],
    "without sharing": [f"{KD3},shared=0"],
    "selection alone": [f"{KD3},weight=0"],
}
ARMS = (*FEEDS, *(f"overlap@10, {arm}" for arm in FEEDS), *(f"share of the domain, {arm}" for arm in FEEDS))


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return cosine and overlap@10 in the domain, and the share of the domain in the drawn texts, of every arm."""
    everything = crawl(lab)
    draw = numpy.random.default_rng([seed, 43])
    inside = draw.permutation(OF_BANKING)
    outside = OF_BANKING + draw.permutation(len(everything) - OF_BANKING)[:OUTSIDE]
    pool = everything.choose(numpy.concatenate([inside[:INSIDE], outside]))
    held_out = everything.choose(inside[INSIDE : INSIDE + HELD_OUT])
    labels = numpy.full(len(pool), -1)
    _, seeds = numpy.unique(pool.labels[:INSIDE], return_index=True)
    labels[seeds] = pool.labels[seeds]
    figures = {}
    for arm, feeds in FEEDS.items():
        trained = lab.train(["leaf", *feeds], pool, labels=labels, seed=seed, steps=STEPS)
        vectors = trained.encode(held_out)
        figures[arm] = cosine(vectors, held_out.vectors)
        figures[f"overlap@10, {arm}"] = overlap(vectors, held_out.vectors)
        figures[f"share of the domain, {arm}"] = float(trained.drawn[:INSIDE].sum() / trained.drawn.sum())
    return figures


def crawl(lab: Lab) -> LabTexts:
    """Return `OF_BANKING` queries of Banking77 with labels, followed by other texts without."""
    banking, mix = read("banking77"), read("mix")
    parts = {
        name: [*getattr(banking, name)[:OF_BANKING], *getattr(mix, name)]
        for name in ("texts", "roles", "labels", "domains")
    }
    # The laboratory's own preparation, for texts that are none of its sets.
    return lab._prepared(RawTexts(**parts, pairs=[]), 1)
