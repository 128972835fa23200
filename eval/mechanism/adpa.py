"""ADPA: the advantage of an aligned teacher on NFCorpus, beside imitating that teacher and beside the pairs alone."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch.nn.functional import normalize

from eval.mechanism.lab import BGE, Lab
from eval.mechanism.texts import LabTexts
from leafkit.types import Float32

CLAIM = "How an aligned teacher differs from its reference teaches more than imitating the aligned teacher."
PREMISE = "bge-small with a map of its queries that is fitted to train pairs of NFCorpus, and bge-small as reference."
CONTROL = "DCKD: the same pairs and the same aligned teacher, imitated by divergences on lists, at the same pull."
FIGURE = (
    "nDCG@10 of dev and test queries of NFCorpus among 1,500 documents; all losses are added to LEAF at a pull of 1; "
    "`no reference` is the paper's ablation, `pairs alone` has no teacher in its loss (gamma = 0)"
)
ARMS = ("adpa", "dckd", "no reference", "pairs alone", "leaf", "leaf of the aligned teacher", "teacher")
ARMS += ("aligned teacher",)

QUERIES, DOCUMENTS, MOST = 1200, 1500, 10
METHODS = {
    "adpa": "adpa:dckd=0",
    "dckd": "adpa:dckd=1",
    "no reference": "adpa:dckd=0,reference=false",
    "pairs alone": "adpa:dckd=0,gamma=0",
}


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return nDCG@10 of each student and of both teachers; ``lab`` is not used, since the teacher is bge-small."""
    lab = Lab(BGE)
    texts = lab.all_texts("nfcorpus", layer=2)
    train, test = split(texts, seed)
    job: dict[str, Any] = {"seed": seed, "steps": 400, "width": 192}
    figures = {"teacher": ndcg(test.vectors, test)}
    aligned = train.vectors
    for arm, spec in METHODS.items():
        student = lab.train(["leaf", spec], train, pulls={"adpa": 1.0}, **job)
        figures[arm] = ndcg(student.encode(test), test)
        change = student.states["adpa"].change
        aligned = moved(train, change)
        figures["aligned teacher"] = ndcg(moved(test, change), test)
    figures["leaf"] = ndcg(lab.train(["leaf"], train, **job).encode(test), test)
    figures["leaf of the aligned teacher"] = ndcg(lab.train(["leaf"], train, targets=aligned, **job).encode(test), test)
    return figures


def split(texts: LabTexts, seed: int) -> tuple[LabTexts, LabTexts]:
    """Return train queries with documents, and the other queries with the same documents, drawn from ``seed``."""
    draw = numpy.random.default_rng([seed, 53])
    documents = draw.permutation(numpy.flatnonzero(texts.roles == 1))[:DOCUMENTS]
    paired = numpy.unique(texts.pairs[numpy.isin(texts.pairs[:, 1], documents), 0])
    # The domains are the splits in alphabetical order: corpus, dev, test, train.
    train = draw.permutation(paired[texts.domains[paired] == 3])[:QUERIES]
    test = paired[texts.domains[paired] != 3]
    return texts.choose(numpy.concatenate([train, documents])), texts.choose(numpy.concatenate([test, documents]))


def moved(texts: LabTexts, change: torch.Tensor) -> Float32:
    """Return the aligned teacher's vectors of ``texts``: queries moved by ``change``, documents as they are."""
    vectors = torch.from_numpy(texts.vectors)
    queries = torch.from_numpy(texts.roles == 0)[:, None]
    return torch.where(queries, normalize(vectors + vectors @ change.T, dim=-1), vectors).numpy()


def ndcg(vectors: Float32, texts: LabTexts) -> float:
    """Return nDCG@10 of the queries' ``vectors``, (texts, dim), with the teacher's vectors of the documents."""
    queries, documents = numpy.flatnonzero(texts.roles == 0), numpy.flatnonzero(texts.roles == 1)
    right = numpy.zeros((len(texts), len(texts)), dtype=bool)
    right[texts.pairs[:, 0], texts.pairs[:, 1]] = True
    right = right[numpy.ix_(queries, documents)]
    nearest = numpy.argsort(-(vectors[queries] @ texts.vectors[documents].T), axis=1)[:, :MOST]
    gains = 1 / numpy.log2(numpy.arange(MOST) + 2)
    best = numpy.cumsum(gains)[numpy.minimum(right.sum(axis=1), MOST) - 1]
    return float(((numpy.take_along_axis(right, nearest, axis=1) * gains).sum(axis=1) / best).mean())
