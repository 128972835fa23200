"""RAD in small: picks within a budget of teacher calls, from a teacher that is wrong on the hardest texts.

Unsure texts are worth more than others here: the student starts from texts of the 15 common classes, and the pool has
15 texts of each of the 62 others.
"""

from __future__ import annotations

from typing import Any

import numpy
import torch

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.student import Perceptron
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job, setting_of
from leafkit.methods.feeds.rad import margin_gains
from leafkit.methods.registry import parse_method
from leafkit.types import Int64

CLAIM = "Picks that are informative and robust to a teacher's errors beat random picks and margin sampling."
PREMISE = "The targets of the fifth of the texts that the student is least sure of are those of other such texts."
CONTROL = "As many random picks, with the same budget, start and steps."
FIGURE = "mean cosine of held-out texts with the right vectors; higher is better"
ERRORS, START, ANCHORS, COMMON, OF_RARE = 0.2, 300, 16, 15, 15
SIZES = "share=0.15,first=50,picks=30,every=30"
FEEDS = {
    "rad": f"rad:eps={ERRORS},count={ANCHORS},{SIZES}",
    "random": f"pcoreset:space=random,{SIZES}",
    "margin": f"rad:eps=0,count={ANCHORS},{SIZES}",
}
ARMS = (*FEEDS, *(f"{feed}, no errors" for feed in FEEDS), *(f"share of errors, {feed}" for feed in FEEDS))


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of every arm with and without errors, and the share of wrong targets among the picks."""
    texts, held_out = lab.texts("banking77", seed=seed, train=7000, held_out=1000)
    common = numpy.flatnonzero(texts.labels < COMMON)
    rare = [numpy.flatnonzero(texts.labels == label)[:OF_RARE] for label in range(COMMON, 77)]
    apart, pool = texts.choose(common[:START]), texts.choose(numpy.concatenate([common[START:], *rare]))
    start = lab.train(["leaf"], apart, seed=seed, steps=200).student
    hardest = hard_texts(start, pool, seed)
    wrong = pool.vectors.copy()
    wrong[hardest] = pool.vectors[numpy.roll(hardest, 1)]
    figures = {}
    for arm, feed in FEEDS.items():
        for name, targets in ((arm, wrong), (f"{arm}, no errors", pool.vectors)):
            trained = lab.train(["leaf", feed], pool, targets=targets, start=start, seed=seed, steps=360)
            figures[name] = cosine(trained.encode(held_out), held_out.vectors)
            if name == arm:
                picked = trained.states[feed.partition(":")[0]].selected.numpy()
                figures[f"share of errors, {arm}"] = float(picked[hardest].sum() / picked.sum())
    return figures


def hard_texts(student: Perceptron, pool: LabTexts, seed: int) -> Int64:
    """Return the rows of ``pool``, but for those that are drawn first, with the smallest margins of ``student``."""
    rad: Any = parse_method(FEEDS["rad"])
    state = rad.build(setting_of(pool, Job(seed=seed)))
    probabilities = torch.softmax(state.anchors.logits(torch.from_numpy(student.encode(pool.features))), dim=-1)
    gains = numpy.where(state.selected.numpy(), 0, margin_gains(probabilities.double().numpy()))
    return numpy.argsort(-gains)[: round(ERRORS * len(pool))]
