"""Candidate lists: for each query, the documents that answer it among documents that are merely similar.

A method that ranks needs items to rank. With pairs of query and document, each query has a list of its own. Its
documents are the teacher's vectors, so a list costs no forward pass of the student. `choices` makes lists and class
anchors look alike to a method that accepts both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.anchors import Anchors, fit_temperature
from leafkit.methods.setting import Facts, Setting
from leafkit.types import Int64

# The most documents to choose from, besides those of the pairs.
DOCUMENTS = 20_000
# The number of queries that are compared with all documents at once.
CHUNK = 256


class Candidates(nn.Module):
    """One list of ``count`` documents for each query that has a pair.

    ``documents`` (documents, dim) are the teacher's unit vectors. ``lists`` (queries, count) are positions among the
    documents, and ``gold`` (queries, count) marks those that answer the query. ``place`` (texts,) is the list of each
    training text, -1 for a text without one. Cosines are divided by ``temperature``.
    """

    documents: Tensor
    lists: Tensor
    gold: Tensor
    place: Tensor
    temperature: Tensor

    def __init__(self, documents: Tensor, lists: Tensor, gold: Tensor, place: Tensor, temperature: float) -> None:
        super().__init__()
        # Not saved: a resumed training builds the same documents again.
        self.register_buffer("documents", documents, persistent=False)
        self.register_buffer("lists", lists)
        self.register_buffer("gold", gold)
        self.register_buffer("place", place)
        self.register_buffer("temperature", torch.tensor(temperature))

    def lines(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the list of each training row, (rows,), and whether it has one; a row without one is given list 0."""
        place = self.place[rows]
        return place.clamp(min=0), place >= 0

    def logits(self, vectors: Tensor, lists: Tensor) -> Tensor:
        """Return the cosines of ``vectors`` (rows, dim) with the documents of ``lists`` (rows, count) over temperature.

        The result, (rows, count), is float32 or better.
        """
        wide = vectors if vectors.dtype == torch.float64 else vectors.float()
        documents = self.documents[lists].to(wide.dtype)
        return (documents @ normalize(wide, dim=-1)[:, :, None])[:, :, 0] / self.temperature.to(wide.dtype)


def check_lists(facts: Facts, count: int, field: str) -> None:
    """Raise `OptionError` naming ``field`` unless there are pairs, and documents for a list of ``count``."""
    if not len(facts.pairs):
        raise OptionError(
            f"{field.partition(':')[0]} needs pairs, but no training query has a training document. Provide texts with "
            "a `pair` column."
        )
    documents = len(document_rows(facts))
    if not 2 <= count <= documents:
        raise OptionError(f"{field} is {count}; expected 2 to {documents}, the number of documents to list")


def document_rows(facts: Facts) -> Int64:
    """Return the training rows that lists draw from, ascending: all documents of pairs and at most `DOCUMENTS` more."""
    others = numpy.flatnonzero(facts.roles == 1)
    drawn = numpy.random.default_rng([facts.seed, 31]).permutation(len(others))[:DOCUMENTS]
    return numpy.union1d(facts.pairs[:, 1], others[drawn]).astype(numpy.int64)


def fit_candidates(setting: Setting, count: int) -> Candidates:
    """Make a list of ``count`` documents for each query with a pair, as the teacher sees them.

    A list has the documents that answer the query, at most half of the list and the most similar ones first, and the
    most similar other documents. The temperature is fitted as for anchors, so that the teacher's largest probability
    in a list is 0.5 on average.

    Raises `OptionError` if there are no pairs or fewer than ``count`` documents.
    """
    check_lists(setting, count, "candidates:count")
    documents = unit_targets(setting, document_rows(setting))
    queries, pairs = numbered_pairs(setting)
    vectors = unit_targets(setting, queries)
    lists, gold = mine(vectors, documents, pairs, count)
    place = torch.full((setting.texts,), -1)
    place[torch.from_numpy(queries)] = torch.arange(len(queries))
    return Candidates(documents, lists, gold, place, fit_temperature(listed_cosines(vectors, documents, lists)))


def numbered_pairs(facts: Facts) -> tuple[Int64, Tensor]:
    """Return the rows of the queries with a pair, ascending, and the pairs as positions, (pairs, 2).

    The positions are those of the query among these rows and of the document among `document_rows`.
    """
    queries, line = numpy.unique(facts.pairs[:, 0], return_inverse=True)
    documents = numpy.searchsorted(document_rows(facts), facts.pairs[:, 1])
    return queries, torch.from_numpy(numpy.stack([line.reshape(-1), documents], axis=1))


def mine(queries: Tensor, documents: Tensor, pairs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return a list for each query, (queries, count), and a mask of the documents that answer it, of the same shape.

    ``pairs`` (pairs, 2) are positions among the unit vectors ``queries`` and ``documents``. At most ``count // 2``
    documents that answer a query are listed, the most similar ones; the others of the query's are no negatives either.
    """
    lists, gold = [], []
    for start in range(0, len(queries), CHUNK):
        lines = torch.arange(start, min(start + CHUNK, len(queries)))
        scores = queries[lines] @ documents.T
        answers = answer_mask(pairs, lines, scores.shape[1])
        best = scores.masked_fill(~answers, -torch.inf).topk(count // 2, dim=1).indices
        listed = torch.zeros_like(answers).scatter_(1, best, True) & answers
        scores = scores.masked_fill(answers, -torch.inf).masked_fill(listed, torch.inf)
        values, places = scores.topk(count, dim=1)
        lists.append(places)
        # Where documents are so few that an answer is listed as if it were a negative, it still counts as an answer.
        gold.append(values.isinf())
    return torch.cat(lists), torch.cat(gold)


def listed_cosines(queries: Tensor, documents: Tensor, lists: Tensor) -> Tensor:
    """Return the cosines of the unit ``queries`` with the ``documents`` of their ``lists``, both (queries, count)."""
    # In parts, because the documents of all lists together would need count times the memory of the queries.
    parts = zip(queries.split(CHUNK), lists.split(CHUNK), strict=True)
    return torch.cat([(documents[some] @ vectors[:, :, None])[:, :, 0] for vectors, some in parts])


def answer_mask(pairs: Tensor, lines: Tensor, documents: int) -> Tensor:
    """Return which of the ``documents`` answer the queries ``lines``, (lines, documents), by ``pairs`` (pairs, 2)."""
    place = torch.full((int(max(pairs[:, 0].max(), lines.max())) + 1,), -1)
    place[lines] = torch.arange(len(lines))
    here = place[pairs[:, 0]]
    mask = torch.zeros(len(lines), documents, dtype=torch.bool)
    mask[here[here >= 0], pairs[here >= 0, 1]] = True
    return mask


def nearest(queries: Tensor, documents: Tensor, count: int) -> Tensor:
    """Return the positions of the ``count`` documents most similar to each query, (queries, count), nearest first."""
    return torch.cat([(chunk @ documents.T).topk(count, dim=1).indices for chunk in queries.split(CHUNK)])


def gold_cross_entropy(logits: Tensor, gold: Tensor) -> Tensor:
    """Return the mean of -log softmax(``logits``) over the documents marked in ``gold``, (rows,), of (rows, count)."""
    share = gold.to(logits.dtype)
    return -(logits.log_softmax(dim=-1) * share).sum(dim=-1) / share.sum(dim=-1).clamp(min=1)


def unit_targets(setting: Setting, rows: Int64) -> Tensor:
    """Return the teacher's unit vectors of the training ``rows``, (rows, dim)."""
    return normalize(torch.from_numpy(setting.targets(rows)), dim=-1)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What some texts choose among: the documents of each text's list, or anchors that all texts share.

    ``logits`` maps vectors (rows, dim) to logits (rows, count). ``gold`` (rows, count) marks what is right: documents
    that answer, or the class of the text; no item of a text without either. ``listed`` (rows,) is False for a text
    without a list, whose logits mean nothing.
    """

    logits: Callable[[Tensor], Tensor]
    gold: Tensor
    listed: Tensor

    @property
    def known(self) -> Tensor:
        """Whether it is known what is right for each text, (rows,)."""
        return self.gold.any(dim=-1)


def choices(items: Anchors | Candidates, rows: Tensor, labels: Tensor) -> Choices:
    """Return the choices of the training ``rows`` with classes ``labels`` (-1 for none), both (rows,)."""
    if isinstance(items, Candidates):
        lines, listed = items.lines(rows)
        lists = items.lists[lines]
        return Choices(
            logits=lambda vectors: items.logits(vectors, lists),
            gold=items.gold[lines] & listed[:, None],
            listed=listed,
        )
    gold = torch.zeros(len(labels), len(items.centres), dtype=torch.bool, device=labels.device)
    if items.by_labels:
        gold.scatter_(1, labels.clamp(min=0)[:, None], (labels >= 0)[:, None])
    return Choices(logits=items.logits, gold=gold, listed=torch.ones_like(labels, dtype=torch.bool))


def rows_with_gold(facts: Facts, *, pairs: bool) -> Int64:
    """Return the training rows, ascending, that have a pair, or else a label."""
    return numpy.unique(facts.pairs[:, 0]) if pairs else numpy.flatnonzero(facts.labels >= 0)


def draw_reserved(facts: Facts, count: int, *, pairs: bool) -> Int64:
    """Return ``count`` rows to reserve, ascending, drawn from those with a pair, or else a label.

    One text of each class is never drawn, so that each class keeps a text to learn from.
    """
    rows = rows_with_gold(facts, pairs=pairs)
    if not pairs:
        rows = numpy.delete(rows, numpy.unique(facts.labels[rows], return_index=True)[1])
    return numpy.sort(numpy.random.default_rng([facts.seed, 37]).permutation(rows)[:count])


def check_reserved(facts: Facts, count: int, field: str, *, pairs: bool) -> None:
    """Raise `OptionError` naming ``field`` if ``count`` rows are more than half of those with a pair or label."""
    most = len(rows_with_gold(facts, pairs=pairs)) // 2
    if count > most:
        having = "queries with a pair" if pairs else "texts with a label"
        raise OptionError(f"{field} is {count}; expected at most {most}, half of the training {having}")


def own_reserved(setting: Setting, *, pairs: bool) -> Int64:
    """Return the reserved rows whose pair or label the method is told: those that it reserved itself."""
    return numpy.intersect1d(setting.reserved, rows_with_gold(setting, pairs=pairs))
