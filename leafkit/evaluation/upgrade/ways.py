"""The ways to go on without the old model, and which vectors search which documents in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from leafkit.evaluation.upgrade.agreement import Sides
from leafkit.types import Float32, Int64

OLD, CONTROL, REEMBED = "old model", "unmapped queries", "re-embedding"
STUDENT, BRIDGED_QUERIES, BRIDGED_DOCUMENTS = "student", "bridged queries", "bridged documents"

WAYS = {
    OLD: "the old model searches its own vectors, as today",
    CONTROL: "control: the new model's queries search the old vectors as they are",
    BRIDGED_QUERIES: "the new model's queries, mapped into the old space, search the old vectors",
    BRIDGED_DOCUMENTS: "the new model's queries search the old vectors, mapped into the new space",
    STUDENT: "a student of the old space searches the old vectors",
    REEMBED: "the new model embeds every document again",
}
"""What each way does, in the order of the table."""

CANDIDATES = (STUDENT, BRIDGED_QUERIES, BRIDGED_DOCUMENTS, REEMBED)
"""The ways to choose from, the cheapest first: the first three embed no document of the index again."""


@dataclass(frozen=True, kw_only=True)
class DocumentVectors:
    """The vectors of the documents: the ``old`` ones, the ``new`` ones, and the old ones ``mapped`` into the new space.

    All have the shape (documents, width of their space), in one order.
    """

    old: Float32
    new: Float32
    mapped: Float32


@dataclass(frozen=True, kw_only=True)
class QueryVectors:
    """The vectors of the queries by each encoder, (queries, width).

    old: by the old model; None if they are not known.
    new: by the new model. mapped: the new ones mapped into the old space.
    student: by the student of the old space; None without one.
    own: the row of the document that each query is itself, -1 for none, (queries,).
    """

    old: Float32 | None
    new: Float32
    mapped: Float32
    student: Float32 | None
    own: Int64

    def known(self, rows: Int64, old: Float32) -> QueryVectors:
        """Return only the queries ``rows``, whose vectors by the old model are ``old``."""
        student = None if self.student is None else self.student[rows]
        return QueryVectors(old=old, new=self.new[rows], mapped=self.mapped[rows], student=student, own=self.own[rows])


def sides_of(queries: QueryVectors, documents: DocumentVectors) -> dict[str, Sides]:
    """Return the vectors that search and are searched in each way that is possible, in the order of `WAYS`."""
    found = {
        BRIDGED_QUERIES: Sides(queries.mapped, documents.old),
        BRIDGED_DOCUMENTS: Sides(queries.new, documents.mapped),
        REEMBED: Sides(queries.new, documents.new),
    }
    if queries.old is not None:
        found[OLD] = Sides(queries.old, documents.old)
    if queries.new.shape[1] == documents.old.shape[1]:
        found[CONTROL] = Sides(queries.new, documents.old)
    if queries.student is not None:
        found[STUDENT] = Sides(queries.student, documents.old)
    return {way: found[way] for way in WAYS if way in found}


def no_document(queries: int) -> Int64:
    """Return the `QueryVectors.own` of ``queries`` that are no documents."""
    return numpy.full(queries, -1, dtype=numpy.int64)
