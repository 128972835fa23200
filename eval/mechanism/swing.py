"""Swing in small: secrets are planted in the training texts, and then sought in the student."""

from __future__ import annotations

from dataclasses import replace

import numpy

from eval.mechanism.figures import cosine, ndcg
from eval.mechanism.lab import Lab
from eval.mechanism.texts import LabTexts, RawTexts, read
from eval.mechanism.training import Trained
from leafkit.methods.objectives.swing import find_private
from leafkit.methods.probes.exposure import exposure
from leafkit.types import Int64, Role

CLAIM = "A student of Swing reveals fewer of the secrets in its training texts than one of plain distillation."
PREMISE = "Ten texts `my code is NNNN-NNNN`, each twenty times, among 4,067 queries and documents of SQuAD."
CONTROL = "LEAF with Hinton's loss, on the same texts. For the record: private words replaced by their kind."
FIGURE = "minus the exposure of the secrets among 1,001 candidates, in bits; higher is better, -1.44 is chance"
CODES, SECRETS, REPEATS, QUERIES, TRAINED, STEPS = 1010, 10, 20, 3000, 2000, 400
KL = "taid:start=1,adaptive=false,weight=0.1"
METHODS = {"swing": ["swing"], "leaf + kl": ["leaf", KL], "leaf": ["leaf"], "redaction": ["leaf"]}
ARMS = (*METHODS, "no secrets", *(f"{figure}, {arm}" for figure in ("cosine", "nDCG") for arm in METHODS))


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Return minus the exposure of every arm, and its quality on held-out queries."""
    texts, redacted = planted(lab)
    public = len(texts) - CODES
    codes = public + numpy.random.default_rng([seed, 23]).permutation(CODES)
    queries = numpy.random.default_rng([seed, 24]).permutation(QUERIES)
    rows = numpy.concatenate([queries[:TRAINED], numpy.arange(QUERIES, public)])
    with_secrets = numpy.concatenate([rows, numpy.repeat(codes[:SECRETS], REPEATS)])
    figures = {}
    for arm, methods in METHODS.items():
        chosen = (redacted if arm == "redaction" else texts).choose(with_secrets)
        trained = lab.train(methods, chosen, seed=seed, steps=STEPS)
        figures[arm] = -revealed(trained, texts, codes)
        figures |= quality(trained, texts, queries[TRAINED:], arm)
    figures["no secrets"] = -revealed(lab.train(["leaf"], texts.choose(rows), seed=seed, steps=STEPS), texts, codes)
    return figures


def planted(lab: Lab) -> tuple[LabTexts, LabTexts]:
    """Return the texts of SQuAD followed by `CODES` texts with a code, and the same texts without private words."""
    raw, draw = read("squad"), numpy.random.default_rng(7)
    codes = [f"my code is {a}-{b}" for a, b in draw.integers(2100, 9999, size=(CODES, 2))]
    texts = [*raw.texts, *codes]
    cleared = [redact(text) for text in texts]
    extra = sorted(set(cleared) - set(texts))
    queries: list[Role] = ["query"] * CODES
    roles: list[Role] = [*raw.roles, *queries]
    role_of: dict[str, Role] = dict(zip(cleared, roles, strict=True))
    count = len(texts) + len(extra)
    whole = RawTexts(
        texts=[*texts, *extra],
        roles=[*roles, *(role_of[text] for text in extra)],
        labels=[""] * count,
        domains=["squad"] * count,
        pairs=raw.pairs,
    )
    # The laboratory's own preparation, for texts that are none of its sets.
    prepared = lab._prepared(whole, 1)
    place = {text: row for row, text in reversed(list(enumerate(whole.texts)))}
    own = numpy.arange(len(texts))
    other = numpy.array([row if text == clear else place[clear] for row, text, clear in zip(own, texts, cleared)])
    return prepared.choose(own), replace(prepared, pairs=prepared.pairs[:0]).choose(other)


def redact(text: str) -> str:
    """Return ``text`` with each private word replaced by its kind, such as ``[email]``."""
    for kind, start, end in reversed(list(find_private(text))):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def revealed(trained: Trained, texts: LabTexts, codes: Int64) -> float:
    """Return the mean exposure of the secrets, the first of the ``codes``, among the codes that were not planted."""
    chosen = texts.choose(codes)
    scores = (trained.encode(chosen) * chosen.vectors).sum(axis=1)
    return float(numpy.mean([exposure(score, scores[SECRETS:]) for score in scores[:SECRETS]]))


def quality(trained: Trained, texts: LabTexts, queries: Int64, arm: str) -> dict[str, float]:
    """Return the cosine of the held-out ``queries`` and their nDCG@10 among the teacher's document vectors."""
    held_out = texts.choose(queries)
    vectors = trained.encode(held_out)
    place = numpy.full(len(texts), -1)
    place[queries] = numpy.arange(len(queries))
    pairs = numpy.stack([place[texts.pairs[:, 0]], texts.pairs[:, 1] - QUERIES], axis=1)
    documents = texts.vectors[QUERIES : len(texts) - CODES]
    return {
        f"cosine, {arm}": cosine(vectors, held_out.vectors),
        f"nDCG, {arm}": ndcg(vectors, documents, pairs[pairs[:, 0] >= 0]),
    }
