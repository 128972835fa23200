"""Every retriever in every cell on one BEIR collection, compared on the same resampled queries."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from leafkit.errors import VectorError
from leafkit.evaluation.beir_crosscheck import beir_ndcg
from leafkit.evaluation.bm25 import bm25_rankings
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
from leafkit.evaluation.result_rows import ResultRow
from leafkit.files.progress import progress
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_prefix

_log = logging.getLogger("leafkit")

_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class RetrievalPlan:
    """What is measured on each collection.

    ``full`` is the cell that ``of_full`` compares with. With ``skippable`` the teacher mode is left out where a
    vectors file lacks the queries. ``cross_check`` has BEIR search and score the float32 cells as well.
    """

    retrievers: Sequence[Retriever]
    cells: Sequence[Cell]
    full_cell: Cell
    teacher_is_optional: bool
    bm25: bool
    cross_check: bool
    seed: int


@dataclass(frozen=True)
class CollectionResults:
    """The rows of a collection, and what they are means of: nDCG@10 of every query, shape (rows, queries)."""

    rows: list[ResultRow]
    values: Float64


@dataclass(frozen=True)
class _Scored:
    retriever: Retriever | None
    cell: Cell | None
    scores: QueryScores
    beir: float | None = None


def measure_collection(collection: Collection, plan: RetrievalPlan) -> CollectionResults:
    """A row for each cell and retriever, cells first, then BM25's where asked for."""
    encoders = {
        id(e): e for retriever in plan.retrievers for e in (retriever.query_encoder, retriever.document_encoder)
    }
    encoded = {key: CollectionVectors(encoder, collection) for key, encoder in encoders.items()}
    retrievers = [retriever for retriever in plan.retrievers if _covers(retriever, encoded, plan)]
    for retriever in retrievers:
        # Here, so that no encoder's progress falls into the rows'.
        _ = encoded[id(retriever.document_encoder)].documents
    teacher = any(retriever.mode == "teacher" for retriever in retrievers)
    extra = [plan.full_cell] if teacher and plan.full_cell not in plan.cells else []
    measured = []
    with progress(collection.name, total=len(plan.cells) * len(retrievers), unit="rows") as bar:
        for cell in [*plan.cells, *extra]:
            asked = [retriever for retriever in retrievers if cell in plan.cells or retriever.mode == "teacher"]
            for found in _measure_cell(collection, cell, asked, encoded, plan.cross_check):
                measured.append(found)
                bar.update(cell in plan.cells)
    if plan.bm25:
        measured.append(
            _Scored(None, None, score_rankings(collection.judgements, without_own_documents(bm25_rankings(collection))))
        )
    return _rows(collection, measured, plan)


def _covers(retriever: Retriever, encoded: dict[int, CollectionVectors], plan: RetrievalPlan) -> bool:
    """Whether the retriever has its query vectors; a vectors file often holds documents alone."""
    try:
        _ = encoded[id(retriever.query_encoder)].queries
    except VectorError as error:
        if not (plan.teacher_is_optional and retriever.mode == "teacher" and len(plan.retrievers) > 1):
            raise
        _log.warning("the teacher mode is left out, since the teacher has no vectors of the queries: %s", error)
        return False
    return True


def _measure_cell(
    collection: Collection,
    cell: Cell,
    retrievers: Sequence[Retriever],
    encoded: dict[int, CollectionVectors],
    cross_check: bool,
) -> Iterator[_Scored]:
    finders: dict[int, CellFinder] = {}
    for retriever in retrievers:
        queries, documents = (
            encoded[id(retriever.query_encoder)].queries,
            encoded[id(retriever.document_encoder)].documents,
        )
        key = id(retriever.document_encoder)
        if key not in finders:
            finders[key] = CellFinder(documents, cell)
        scores = search_scores(collection, queries, finders[key])
        beir = None
        if cross_check and cell.precision == FULL_PRECISION:
            beir = _beir(collection, queries, documents, cell.dim)
            _compare(scores, beir, f"{collection.name}, {retriever.mode}, dim {cell.dim}")
        yield _Scored(retriever, cell, scores, beir)


def search_scores(collection: Collection, queries: Float32, finder: CellFinder) -> QueryScores:
    """The scores of every query's vector (queries, dim), searched a block at a time.

    A thousand hits are some hundred kilobytes a query.
    """
    parts = []
    for start in range(0, len(queries), _BLOCK):
        names = collection.query_ids[start : start + _BLOCK]
        run = _run(names, queries[start : start + _BLOCK], collection.document_ids, finder)
        parts.append(score_rankings({name: collection.judgements[name] for name in names}, run))
    return QueryScores.joined(parts)


def _run(names: Sequence[str], queries: Float32, ids: Sequence[str], finder: CellFinder) -> Rankings:
    """The best documents of every query; one more than the depth is found, since its own id is dropped."""
    found = finder.nearest(queries, min(DEPTH + 1, len(ids)))
    run = {
        name: {ids[row]: score for row, score in zip(rows, scores, strict=True)}
        for name, rows, scores in zip(names, found.rows.tolist(), found.scores.tolist(), strict=True)
    }
    return without_own_documents(run)


def _beir(collection: Collection, queries: Float32, documents: Float32, dim: int) -> float:
    units = (unit_prefix(side, dim, source=collection.name) for side in (queries, documents))
    return beir_ndcg(collection, *units)


def _compare(scores: QueryScores, beir: float, where: str) -> None:
    ours = scores.means()[MAIN_METRIC]
    # Equal vectors summed in another order swap near ties; a wrong evaluation differs by far more.
    if abs(ours - beir) > 1e-3:
        _log.warning("%s: nDCG@10 is %.5f here and %.5f by BEIR", where, ours, beir)


def _rows(collection: Collection, measured: Sequence[_Scored], plan: RetrievalPlan) -> CollectionResults:
    """Rows of what was asked for, with intervals and retentions from the same resampled queries."""
    values = numpy.stack([one.scores.values[MAIN_METRIC] for one in measured])
    means, resampled = values.mean(axis=1), resampled_means(values, seed=plan.seed)
    teacher = {one.cell: at for at, one in enumerate(measured) if one.retriever and one.retriever.mode == "teacher"}
    asked = [at for at, one in enumerate(measured) if one.cell is None or one.cell in plan.cells]
    rows = []
    for at in asked:
        one = measured[at]
        same, full = (None if one.cell is None else teacher.get(one.cell)), teacher.get(plan.full_cell)
        rows.append(
            ResultRow(
                data=collection.name,
                mode=one.retriever.mode if one.retriever else "bm25",
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
                beir_ndcg=one.beir,
                queries=len(collection.query_ids),
                documents=len(collection.document_ids),
            )
        )
    return CollectionResults(rows, values[asked])


def _ratio(means: Float64, at: int, base: int | None) -> float | None:
    return None if base is None or means[base] == 0 else float(means[at] / means[base])


def _ratio_interval(resampled: Float64, at: int, base: int | None) -> Interval | None:
    return None if base is None else ratio_interval(resampled[:, at], resampled[:, base])
