"""Figures of a student's vectors; for all of them, higher is better unless the docstring says otherwise."""

from __future__ import annotations

import numpy

from leafkit.types import Float32, Int64


def cosine(student: Float32, teacher: Float32) -> float:
    """Return the mean cosine of the unit vectors of student and teacher, (rows, dim) each."""
    return float((student * teacher).sum(axis=1, dtype=numpy.float64).mean())


def overlap(student: Float32, teacher: Float32, most: int = 10) -> float:
    """Return the mean share of the ``most`` nearest other texts that the student's and the teacher's space share."""
    found, expected = (_nearest(vectors, most) for vectors in (student, teacher))
    return float((found[:, :, None] == expected[:, None, :]).any(axis=2).mean())


def neighbour_order(student: Float32, teacher: Float32, most: int = 50) -> float:
    """Return the mean Kendall tau between the two orders of the teacher's ``most`` nearest texts of each text."""
    from scipy.stats import kendalltau

    nearest = _nearest(teacher, most)
    taus = []
    for row, others in enumerate(nearest):
        taus.append(kendalltau(student[others] @ student[row], teacher[others] @ teacher[row])[0])
    return float(numpy.nanmean(taus))


def class_scores(vectors: Float32, train: Float32, labels: Int64) -> Float32:
    """Return the cosine of ``vectors`` (rows, dim) with the mean of each class of the teacher's ``train`` vectors.

    ``labels`` (texts,) are the classes of ``train``; the result is (rows, classes).
    """
    means = numpy.stack([train[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])
    return vectors @ (means / numpy.linalg.norm(means, axis=1, keepdims=True)).T


def accuracy(scores: Float32, labels: Int64) -> float:
    """Return the share of texts whose largest of ``scores`` (rows, classes) is that of their label, (rows,)."""
    return float((scores.argmax(axis=1) == labels).mean())


def ndcg(queries: Float32, documents: Float32, pairs: Int64, most: int = 10) -> float:
    """Return the mean nDCG@``most`` of ``queries`` (rows, dim) that each have one right document of ``documents``.

    ``pairs`` (pairs, 2) has the row of a query and the row of its document.
    """
    scores = queries[pairs[:, 0]] @ documents.T
    right = scores[numpy.arange(len(pairs)), pairs[:, 1]]
    ranks = (scores > right[:, None]).sum(axis=1)
    return float(numpy.where(ranks < most, 1 / numpy.log2(ranks + 2), 0.0).mean())


def _nearest(vectors: Float32, most: int) -> Int64:
    """Return the nearest ``most`` other rows of each row by dot product, nearest first, (rows, most)."""
    scores = vectors @ vectors.T
    numpy.fill_diagonal(scores, -numpy.inf)
    return numpy.argsort(-scores, axis=1, kind="stable")[:, :most]
