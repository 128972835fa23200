"""Encode what is measured, fit the bridges, and compare the ways with the old ranking and with judgements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from leafkit.evaluation.collection import Collection
from leafkit.evaluation.upgrade.agreement import Agreement, agreements
from leafkit.evaluation.upgrade.bridge import Bridge, draw_folds, fit_bridge, usable_rows
from leafkit.evaluation.upgrade.cost import Timing, encode_timed
from leafkit.evaluation.upgrade.judged import Judged, judge
from leafkit.evaluation.upgrade.old import OldVectors, Pairs
from leafkit.evaluation.upgrade.queries import GivenQueries, draw_probes, known_by_old
from leafkit.evaluation.upgrade.student import OldStudent
from leafkit.evaluation.upgrade.ways import OLD, DocumentVectors, QueryVectors, no_document, sides_of
from leafkit.types import Float32, Role, Teacher

PROBES = 500  # documents that search as queries, because their old vectors are always known


@dataclass(frozen=True, kw_only=True)
class Models:
    """What encodes: the ``new`` model, the ``old_model`` if it still answers, and a ``student`` of the old space."""

    old: OldVectors
    new: Teacher
    old_model: Teacher | None
    student: OldStudent | None

    def student_vectors(self, texts: Sequence[str], role: Role) -> Float32 | None:
        """Return the vectors of ``texts`` by the student, (rows, dim); None without a student."""
        return None if self.student is None else self.old.stored(self.student.student.encoder.encode(texts, role))


@dataclass(frozen=True, kw_only=True)
class Material:
    """What is measured on: ``documents`` with their old vectors, ``logged`` queries with theirs, and other queries.

    collection: judged queries; None without judgements. given: queries of --queries; None without.
    """

    documents: Pairs
    logged: Pairs
    collection: Collection | None
    given: GivenQueries | None

    @property
    def fitting_set(self) -> list[str]:
        """The documents and then the logged queries: the texts whose vectors are known in both spaces."""
        return [*self.documents.texts, *self.logged.texts]

    def usable(self) -> NDArray[numpy.bool_]:
        """Tell which texts of the fitting set a bridge may be fitted on, (texts,); `InputError` for too few."""
        return usable_rows(self.fitting_set, self.measured)

    @property
    def measured(self) -> list[str]:
        """The texts of the queries that are measured and so must not be fitted on."""
        judged = [] if self.collection is None else self.collection.queries
        return [*judged, *([] if self.given is None else self.given.texts)]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured; None where there was nothing to measure with.

    queries, documents: each way's agreement with the old ranking over queries, and over documents that search.
    fitted, known, probes: how many texts the bridges were fitted on, and how many queries and documents searched.
    timing: of the documents that the new model encoded.
    """

    judged: Judged | None
    queries: dict[str, Agreement] | None
    documents: dict[str, Agreement]
    fitted: int
    known: int
    probes: int
    timing: Timing


def measure(models: Models, material: Material, *, seed: int) -> Measured:
    """Compare all ways on ``material``."""
    texts, count, usable = material.fitting_set, len(material.documents.texts), material.usable()
    folds = draw_folds(texts, seed)
    old = numpy.concatenate([material.documents.vectors, material.logged.vectors])
    new, timing = encode_timed(models.new, material.documents.texts)
    if material.logged.texts:
        new = numpy.concatenate([new, models.new.encode(material.logged.texts, "query")])
    to_old = fit_bridge(new, old, folds, usable=usable, seed=seed)
    to_new = fit_bridge(old, new, folds, usable=usable, seed=seed)
    mapped = to_old.apply_held_out(new, folds)
    documents = DocumentVectors(old=old[:count], new=new[:count], mapped=to_new.apply_held_out(old, folds)[:count])
    judged_queries = None if material.collection is None else _queries(models, material.collection.queries, to_old)
    logged = QueryVectors(
        old=old[count:],
        new=new[count:],
        mapped=mapped[count:],
        student=models.student_vectors(material.logged.texts, "query"),
        own=no_document(len(texts) - count),
    )
    known = _known(models, material, judged_queries, logged, to_old)
    probes = _probes(models, material.documents, documents, mapped[:count], seed)
    return Measured(
        judged=None if judged_queries is None else _judge(models, material, judged_queries, documents, seed),
        queries=None if known is None else _agreements(known, documents, seed),
        documents=_agreements(probes, documents, seed),
        fitted=to_old.fitted,
        known=0 if known is None else len(known.own),
        probes=len(probes.own),
        timing=timing,
    )


def _queries(models: Models, texts: Sequence[str], to_old: Bridge) -> QueryVectors:
    """Return the vectors of queries outside the fitting set; those by the old model are added where they are known."""
    new = models.new.encode(texts, "query")
    student = models.student_vectors(texts, "query")
    return QueryVectors(old=None, new=new, mapped=to_old.apply(new), student=student, own=no_document(len(texts)))


def _known(
    models: Models, material: Material, judged: QueryVectors | None, logged: QueryVectors, to_old: Bridge
) -> QueryVectors | None:
    """Return the queries whose old vectors are known: of --queries, or else judged, or else logged; None if none is."""
    given = material.given
    if given is not None:
        queries = _queries(models, given.texts, to_old)
        if given.vectors is not None:
            return queries.known(numpy.arange(len(given.texts)), given.vectors)
        rows, vectors = known_by_old(given.texts, models.old, models.old_model)
    elif judged is not None and material.collection is not None:
        queries = judged
        rows, vectors = known_by_old(material.collection.queries, models.old, models.old_model)
    else:
        return logged if len(logged.own) else None
    return queries.known(rows, vectors) if len(rows) else None


def _probes(models: Models, texts: Pairs, documents: DocumentVectors, mapped: Float32, seed: int) -> QueryVectors:
    """Return documents that search as queries; ``mapped`` are the new vectors mapped into the old space."""
    rows = draw_probes(texts, PROBES, seed)
    chosen = [texts.texts[row] for row in rows.tolist()]
    return QueryVectors(
        old=documents.old[rows],
        new=documents.new[rows],
        mapped=mapped[rows],
        student=models.student_vectors(chosen, "document"),
        own=rows,
    )


def _agreements(queries: QueryVectors, documents: DocumentVectors, seed: int) -> dict[str, Agreement]:
    sides = sides_of(queries, documents)
    old = sides.pop(OLD)
    return agreements(old, sides, queries.own, seed=seed)


def _judge(
    models: Models, material: Material, queries: QueryVectors, documents: DocumentVectors, seed: int
) -> Judged | None:
    collection = material.collection
    if collection is None:
        return None
    rows, vectors = known_by_old(collection.queries, models.old, models.old_model)
    if len(rows) == len(collection.queries):
        queries = queries.known(rows, vectors)
    return judge(collection, sides_of(queries, documents), seed=seed)
