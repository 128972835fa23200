"""HFD + BSD in small: two unlike students that teach each other where they are better, against mutual learning."""

from __future__ import annotations

from typing import Any

import numpy
import torch

from eval.mechanism.figures import cosine
from eval.mechanism.lab import Lab
from eval.mechanism.training import Job
from eval.mechanism.words import train_words, word_mask, word_texts
from leafkit.types import Float32

CLAIM = "Two unlike students that teach each other only where they are better both gain more than by mutual learning."
PREMISE = "A perceptron on each word and a convolutional network, with 1,000 texts, in the same steps."
CONTROL = "Deep mutual learning: the same losses in both directions for every region and text."
FIGURE = (
    "mean cosine of both students on held-out texts; `random` lets a coin choose who teaches, `apart` trains the two "
    "without each other"
)
SPECS = {
    "hfd": "hfd",
    "mutual": "hfd:selection=both",
    "random": "hfd:selection=random",
    "apart": "hfd:low=0,region=0,row=0",
}
TEXTS, HELD_OUT = 1000, 500
ARMS = (*SPECS, *(f"{which}, {arm}" for which in ("student", "peer") for arm in SPECS))


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the cosine of both students, and of each, for every way to exchange."""
    texts = lab.all_texts("banking77")
    chosen = numpy.random.default_rng([seed, 41]).permutation(len(texts))[: TEXTS + HELD_OUT]
    both, taught = word_texts(lab, texts.choose(chosen))
    first = numpy.arange(TEXTS)
    train, held_out, taught = both.choose(first), both.choose(TEXTS + numpy.arange(HELD_OUT)), taught[first]
    figures = {}
    for arm, spec in SPECS.items():
        trained = train_words(["leaf", spec], train, taught, Job(seed=seed, steps=150))
        student = cosine(trained.encode(held_out), held_out.vectors)
        peer = cosine(encode(trained.states["hfd"].peer, held_out.features), held_out.vectors)
        figures |= {arm: (student + peer) / 2, f"student, {arm}": student, f"peer, {arm}": peer}
    return figures


@torch.inference_mode()
def encode(peer: Any, features: Float32) -> Float32:
    """Return the vectors, (texts, dim), that ``peer`` writes for ``features`` of words (texts, length, inputs)."""
    inputs = torch.from_numpy(features)
    return peer(inputs, word_mask(inputs)).vectors.numpy()
