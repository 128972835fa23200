"""Measure every mode in every grid cell on one BEIR collection; all are compared on the same resampled queries."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from leafkit.errors import VectorError
from leafkit.evaluation.beir_crosscheck import beir_ndcg
from leafkit.evaluation.bm25 import bm25_rankings, hybrid_rankings
from leafkit.evaluation.bootstrap import Interval, interval, ratio_interval, resampled_means
from leafkit.evaluation.collection import Collection
from leafkit.evaluation.grid import FULL_PRECISION, Cell, CellFinder
from leafkit.evaluation.metrics import (
    DEPTH,
    MAIN_METRIC,
    Float64,
    QueryScores,
    Rankings,
    score_rankings,
    without_own_documents,
)
from leafkit.evaluation.modes import CollectionVectors, Retriever
from leafkit.evaluation.result_rows import BM25, ResultRow
from leafkit.files.progress import progress
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_prefix

_log = logging.getLogger("leafkit")

# Queries searched at once: a thousand hits take about a hundred kilobytes per query.
_QUERY_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class RetrievalPlan:
    """What to measure on each collection.

    ``full_cell`` is the cell that ``of_full`` compares with. ``teacher_is_optional`` skips the teacher mode if a
    vectors file holds no queries. ``hybrid`` also measures each retriever fused with BM25. ``cross_check`` also lets
    BEIR search and score the float32 cells.
    """

    retrievers: Sequence[Retriever]
    cells: Sequence[Cell]
    full_cell: Cell
    teacher_is_optional: bool
    bm25: bool
    cross_check: bool
    seed: int
    hybrid: bool = False


@dataclass(frozen=True)
class CollectionResults:
    """The rows of one collection, and nDCG@10 of every query in each row, shape (rows, queries)."""

    rows: list[ResultRow]
    query_scores: Float64


@dataclass(frozen=True)
class _Measurement:
    """The scores of one retriever in one cell, ``fused`` with BM25 or not; BM25 alone has neither."""

    retriever: Retriever | None
    cell: Cell | None
    scores: QueryScores
    beir_ndcg: float | None = None
    fused: bool = False

    @property
    def mode(self) -> str:
        """The mode of the row."""
        if self.retriever is None:
            return BM25
        return f"{self.retriever.mode}+{BM25}" if self.fused else self.retriever.mode


def measure_collection(collection: Collection, plan: RetrievalPlan) -> CollectionResults:
    """Return a row for each cell and retriever, cell by cell, then a row for BM25 if the plan requests it.

    A row fused with BM25 follows the row of its retriever, if the plan requests that.
    """
    encoders = {id(e): e for one in plan.retrievers for e in (one.query_encoder, one.document_encoder)}
    vectors = {key: CollectionVectors(encoder, collection) for key, encoder in encoders.items()}
    retrievers = [one for one in plan.retrievers if _has_queries(one, vectors, plan)]
    for one in retrievers:
        # Encode here, before the progress bar of the rows opens: encoders show bars of their own.
        _ = vectors[id(one.document_encoder)].documents
    has_teacher = any(one.mode == "teacher" for one in retrievers)
    extra = [plan.full_cell] if has_teacher and plan.full_cell not in plan.cells else []
    measurements = []
    bm25 = bm25_rankings(collection) if plan.bm25 or plan.hybrid else None
    with progress(collection.name, total=len(plan.cells) * len(retrievers), unit="rows") as bar:
        for cell in [*plan.cells, *extra]:
            # Only the teacher is measured in the full cell if the grid does not contain it.
            active = [one for one in retrievers if cell in plan.cells or one.mode == "teacher"]
            fused = bm25 if plan.hybrid else None
            for measurement in _measure_cell(collection, cell, active, vectors, plan.cross_check, fused):
                measurements.append(measurement)
                bar.update(cell in plan.cells and not measurement.fused)
    if bm25 is not None and plan.bm25:
        rankings = without_own_documents(bm25)
        measurements.append(_Measurement(None, None, score_rankings(collection.judgements, rankings)))
    return _results(collection, measurements, plan)


def _has_queries(retriever: Retriever, vectors: dict[int, CollectionVectors], plan: RetrievalPlan) -> bool:
    """Return whether the query vectors are available: a vectors file often holds documents alone.

    Raises `VectorError` unless the retriever is a teacher that the plan can do without.
    """
    try:
        _ = vectors[id(retriever.query_encoder)].queries
    except VectorError as error:
        if not (plan.teacher_is_optional and retriever.mode == "teacher" and len(plan.retrievers) > 1):
            raise
        _log.warning("skipped the teacher mode, because the teacher has no vectors of the queries: %s", error)
        return False
    return True


def _measure_cell(
    collection: Collection,
    cell: Cell,
    retrievers: Sequence[Retriever],
    vectors: dict[int, CollectionVectors],
    cross_check: bool,
    bm25: Rankings | None,
) -> Iterator[_Measurement]:
    finders: dict[int, CellFinder] = {}
    for retriever in retrievers:
        queries = vectors[id(retriever.query_encoder)].queries
        documents = vectors[id(retriever.document_encoder)].documents
        key = id(retriever.document_encoder)
        if key not in finders:
            finders[key] = CellFinder(documents, cell)
        scores = search_scores(collection, queries, finders[key])
        beir = None
        if cross_check and cell.precision == FULL_PRECISION:
            beir = _beir_ndcg(collection, queries, documents, cell.dim)
            _warn_if_different(scores, beir, f"{collection.name}, {retriever.mode}, dim {cell.dim}")
        yield _Measurement(retriever, cell, scores, beir)
        if bm25 is not None:
            fused = hybrid_rankings(collection, queries, finders[key], bm25)
            yield _Measurement(retriever, cell, score_rankings(collection.judgements, fused), fused=True)


def search_scores(collection: Collection, queries: Float32, finder: CellFinder) -> QueryScores:
    """Search with the vectors of the collection's queries (queries, dim) and return the metrics of every query."""
    parts = []
    for start in range(0, len(queries), _QUERY_BLOCK):
        ids = collection.query_ids[start : start + _QUERY_BLOCK]
        rankings = _search(ids, queries[start : start + _QUERY_BLOCK], collection.document_ids, finder)
        parts.append(score_rankings({query: collection.judgements[query] for query in ids}, rankings))
    return QueryScores.joined(parts)


def _search(query_ids: Sequence[str], queries: Float32, document_ids: Sequence[str], finder: CellFinder) -> Rankings:
    """Return the best `DEPTH` documents of every query; one more is searched, since its own document is removed."""
    found = finder.nearest(queries, min(DEPTH + 1, len(document_ids)))
    rows: list[list[int]] = found.rows.tolist()
    scores: list[list[float]] = found.scores.tolist()
    rankings: Rankings = {}
    for query, of_query, values in zip(query_ids, rows, scores, strict=True):
        rankings[query] = {document_ids[row]: score for row, score in zip(of_query, values, strict=True)}
    return without_own_documents(rankings)


def _beir_ndcg(collection: Collection, queries: Float32, documents: Float32, dim: int) -> float:
    units = (unit_prefix(side, dim, source=collection.name) for side in (queries, documents))
    return beir_ndcg(collection, *units)


def _warn_if_different(scores: QueryScores, beir: float, where: str) -> None:
    ours = scores.means()[MAIN_METRIC]
    # Rounding in another order of summation swaps near ties. A wrong evaluation differs by far more.
    if abs(ours - beir) > 1e-3:
        _log.warning("%s: nDCG@10 is %.5f here, but %.5f by BEIR", where, ours, beir)


def _results(collection: Collection, measurements: Sequence[_Measurement], plan: RetrievalPlan) -> CollectionResults:
    """Return the rows that the plan requests, with intervals and retentions from the same resampled queries."""
    values = numpy.stack([one.scores.values[MAIN_METRIC] for one in measurements])
    means, resampled = values.mean(axis=1), resampled_means(values, seed=plan.seed)
    # The positions in `measurements` of the teacher in each cell, and of the requested rows.
    teacher = {one.cell: at for at, one in enumerate(measurements) if one.mode == "teacher"}
    requested = [at for at, one in enumerate(measurements) if one.cell is None or one.cell in plan.cells]
    rows = []
    for at in requested:
        one = measurements[at]
        same, full = (None if one.cell is None else teacher.get(one.cell)), teacher.get(plan.full_cell)
        rows.append(
            ResultRow(
                data=collection.name,
                mode=one.mode,
                student=one.retriever.student if one.retriever else None,
                dim=one.cell.dim if one.cell else None,
                precision=one.cell.precision if one.cell else None,
                metrics=one.scores.means(),
                main=MAIN_METRIC,
                interval=interval(resampled[:, at]),
                retention=_ratio(means, at, same),
                retention_interval=_ratio_interval(resampled, at, same),
                of_full=_ratio(means, at, full),
                of_full_interval=_ratio_interval(resampled, at, full),
                beir_ndcg=one.beir_ndcg,
                queries=len(collection.query_ids),
                documents=len(collection.document_ids),
            )
        )
    return CollectionResults(rows, values[requested])


def _ratio(means: Float64, at: int, base: int | None) -> float | None:
    return None if base is None or means[base] == 0 else float(means[at] / means[base])


def _ratio_interval(resampled: Float64, at: int, base: int | None) -> Interval | None:
    return None if base is None else ratio_interval(resampled[:, at], resampled[:, base])
