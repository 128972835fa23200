"""Every figure of a student, as scores by item, which the files of the runs keep for later analyses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy

from eval.screen.benchmark import TEST, Benchmark, LabelledTexts, encode_roles
from leafkit.evaluation.compare.statistics import RankCorrelation, Statistic, mean_score
from leafkit.evaluation.metrics import MAIN_METRIC, Float64
from leafkit.evaluation.retrieval import search_scores
from leafkit.extras import import_optional
from leafkit.types import Encoder, Float32
from leafkit.vectors.cosine import row_cosines

Scores = dict[str, dict[str, list[float]]]
"""A score for each item, by figure and split."""

COSINE, OVERLAP, STSB = "cosine", "overlap@10", "STS-B"
ACCURACY, NLL, ECE = "accuracy", "NLL", "ECE"
NDCG = "nDCG@10 "
"""The first part of the names of the figures of retrieval; the name of the collection follows."""

NEIGHBOURS = 10
_DIGITS = 4
_BINS = 10


def measure(student: Encoder, teacher: Encoder, benchmark: Benchmark) -> Scores:
    """Return all scores of ``student``, whose vectors lie in the space of ``teacher``."""
    vectors = _query_vectors(student, benchmark)
    scores: Scores = {}
    targets, own = benchmark.held_out_targets(teacher), encode_roles(student, benchmark.held_out)
    scores[COSINE] = {TEST: _rounded(row_cosines(own, targets))}
    scores[OVERLAP] = {TEST: _rounded(overlaps(own, targets, NEIGHBOURS))}
    for one in benchmark.collections:
        finder = one.finder(teacher)
        scores[f"{NDCG}{one.name}"] = {
            split: _rounded(search_scores(part, vectors(part.queries), finder).values[MAIN_METRIC])
            for split, part in one.parts.items()
        }
    scores[STSB] = {
        split: _rounded(row_cosines(vectors(pairs.left), vectors(pairs.right)))
        for split, pairs in benchmark.rated.items()
    }
    return scores | _classified(vectors, benchmark)


def overlaps(vectors: Float32, targets: Float32, count: int) -> Float64:
    """Return the share of each text's ``count`` nearest neighbours that ``vectors`` and ``targets`` agree on."""
    own, theirs = (_nearest(each, count) for each in (vectors, targets))
    shared = [len(set(a) & set(b)) for a, b in zip(own.tolist(), theirs.tolist(), strict=True)]
    return numpy.array(shared) / count


def _nearest(vectors: Float32, count: int) -> numpy.ndarray[Any, Any]:
    units = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = units @ units.T
    numpy.fill_diagonal(cosines, -numpy.inf)
    return numpy.argpartition(-cosines, count, axis=1)[:, :count]


def _query_vectors(student: Encoder, benchmark: Benchmark) -> Callable[[Sequence[str]], Float32]:
    """Encode everything that is encoded as a query in one call; return a function from texts to their vectors."""
    lists = [part.queries for one in benchmark.collections for part in one.parts.values()]
    lists += [side for pairs in benchmark.rated.values() for side in (pairs.left, pairs.right)]
    lists += [benchmark.fitted.texts, *(part.texts for part in benchmark.labelled.values())]
    texts = list(dict.fromkeys(text for part in lists for text in part))
    vectors, places = student.encode(texts, "query"), {text: row for row, text in enumerate(texts)}
    return lambda wanted: vectors[[places[text] for text in wanted]]


def _classified(vectors: Callable[[Sequence[str]], Float32], benchmark: Benchmark) -> Scores:
    """Fit a logistic regression; return whether it is right, -log p of the class, and its confidence for each text."""
    # Unit vectors need less regularisation than sklearn's default, which suits columns of variance 1.
    model = import_optional("sklearn.linear_model").LogisticRegression(C=10, max_iter=200, tol=1e-3)
    model.fit(vectors(benchmark.fitted.texts), benchmark.fitted.labels)
    found: Scores = {ACCURACY: {}, NLL: {}, ECE: {}}
    for split, part in benchmark.labelled.items():
        chances = model.predict_proba(vectors(part.texts))
        right, losses, confidence = _predictions(chances, model.classes_.tolist(), part)
        found[ACCURACY][split], found[NLL][split] = _rounded(right), _rounded(losses)
        # The sign says whether the prediction is right, so that the error can be computed again from the scores.
        found[ECE][split] = _rounded(numpy.where(right == 1, confidence, -confidence))
    return found


def _predictions(chances: Float64, classes: Sequence[str], part: LabelledTexts) -> tuple[Float64, Float64, Float64]:
    truth = numpy.array([classes.index(label) if label in classes else -1 for label in part.labels])
    right = (chances.argmax(axis=1) == truth).astype(numpy.float64)
    of_class = numpy.where(truth >= 0, chances[numpy.arange(len(truth)), truth], 0.0)
    return right, -numpy.log(numpy.maximum(of_class, 1e-6)), chances.max(axis=1)


def calibration_error(scores: Float64, counts: Float64) -> Float64:
    """Return the expected calibration error (ECE) in ten bins of equal width, (resamples, seeds). A `Statistic`.

    ``scores`` (seeds, items) are confidences, negative where the prediction is wrong; ``counts`` (resamples, items)
    say how often an item counts.
    """
    errors = numpy.zeros((len(counts), len(scores)))
    for seed, row in enumerate(scores):
        confidence, right = numpy.abs(row), (row > 0).astype(numpy.float64)
        bins = numpy.minimum((confidence * _BINS).astype(numpy.int64), _BINS - 1)
        for number in range(_BINS):
            errors[:, seed] += numpy.abs(counts @ numpy.where(bins == number, right - confidence, 0.0))
    return errors / counts.sum(axis=1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: its name, how its scores become a number, and whether a larger number is better.

    ``parts`` are the names of the scores; a figure of several parts is the mean of the figures of its parts.
    """

    name: str
    parts: tuple[str, ...]
    statistic: Statistic
    larger_is_better: bool = True


def figures_of(benchmark: Benchmark, split: str) -> list[Figure]:
    """Return the figures of ``split``; the first is the main one, the mean nDCG@10 over the collections."""
    names = tuple(f"{NDCG}{one.name}" for one in benchmark.collections)
    rated = RankCorrelation(numpy.array(benchmark.rated[split].ratings))
    mean = partial(Figure, statistic=mean_score)
    found = [
        mean(name=MAIN, parts=names),
        *(mean(name=name, parts=(name,)) for name in names),
        Figure(name=STSB, parts=(STSB,), statistic=rated),
        mean(name=ACCURACY, parts=(ACCURACY,)),
        mean(name=NLL, parts=(NLL,), larger_is_better=False),
        Figure(name=ECE, parts=(ECE,), statistic=calibration_error, larger_is_better=False),
    ]
    if split == TEST:
        found[1:1] = [mean(name=COSINE, parts=(COSINE,)), mean(name=OVERLAP, parts=(OVERLAP,))]
    return found


MAIN = "mean nDCG@10"
"""The name of the main figure."""


def _rounded(values: Any) -> list[float]:
    return numpy.round(numpy.asarray(values, dtype=numpy.float64), _DIGITS).tolist()
