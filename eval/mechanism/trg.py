"""TRG in small: relations between words against relations between texts, where most classes are rare."""

from __future__ import annotations

import numpy

from eval.mechanism.figures import accuracy, class_scores, cosine
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts
from eval.mechanism.training import Job
from eval.mechanism.words import train_words, word_texts
from leafkit.types import Float32, Int64

CLAIM = "With a long tail of classes, relations between words help the rare classes more than relations between texts."
PREMISE = "77 classes of Banking77, the largest with 60 training texts, the half with the fewest with 2 or 3 each."
CONTROL = "LEAF with a KL divergence between the similarities of the texts of a batch, and no words."
FIGURE = "accuracy on held-out texts of the rare classes, by the teacher's class means; higher is better"
TEXTS_ALONE = "trg:inner_weight=0,local_weight=0,global_weight=0,instance_weight=1"
SPECS = {
    "trg": ["leaf", "trg:weight=0.1"],
    "between texts": ["leaf", f"{TEXTS_ALONE},weight=0.1"],
    "leaf": ["leaf"],
    "inner alone": ["leaf", "trg:weight=0.1,local_weight=0,global_weight=0"],
    "local alone": ["leaf", "trg:weight=0.1,inner_weight=0,global_weight=0"],
    "global alone": ["leaf", "trg:weight=0.1,inner_weight=0,local_weight=0"],
}
ARMS = (*SPECS, *(f"cosine, {arm}" for arm in SPECS))
# The number of training texts of the largest class, the power of the rank by which it falls, and of held-out texts.
LARGEST, POWER, HELD_OUT = 60, 0.8, 8


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return the accuracy on the rare classes, and the cosine, of LEAF with each kind of relations."""
    train, held_out, taught = long_tail(lab, seed)
    figures = {}
    for arm, specs in SPECS.items():
        trained = train_words(specs, train, taught, Job(seed=seed, steps=150))
        vectors = trained.encode(held_out)
        figures[arm] = accuracy(class_scores(vectors, train.vectors, train.labels), held_out.labels)
        figures[f"cosine, {arm}"] = cosine(vectors, held_out.vectors)
    return figures


def long_tail(lab: Lab, seed: int) -> tuple[LabTexts, LabTexts, Float32]:
    """Return training texts, held-out texts of the rare classes, and the teacher's states of the training words."""
    texts = lab.all_texts("banking77")
    draw = numpy.random.default_rng([seed, 13])
    order, ranked = draw.permutation(len(texts)), draw.permutation(int(texts.labels.max()) + 1)
    rows, held_out = [], []
    for rank, label in enumerate(ranked, start=1):
        own: Int64 = order[texts.labels[order] == label]
        count = max(2, round(LARGEST * rank**-POWER))
        rows.append(own[:count])
        if rank > len(ranked) // 2:
            held_out.append(own[count : count + HELD_OUT])
    train, tail = numpy.concatenate(rows), numpy.concatenate(held_out)
    both, taught = word_texts(lab, texts.choose(numpy.concatenate([train, tail])))
    first = numpy.arange(len(train))
    return both.choose(first), both.choose(len(train) + numpy.arange(len(tail))), taught[first]
