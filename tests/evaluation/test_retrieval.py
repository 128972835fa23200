from __future__ import annotations

import logging

import numpy
import pytest

from leafkit.errors import VectorError
from leafkit.evaluation import retrieval
from leafkit.evaluation.bm25 import bm25_rankings, hybrid_rankings
from leafkit.evaluation.bootstrap import interval, ratio_interval, resampled_means
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.grid import Cell, CellFinder, full_cell
from leafkit.evaluation.metrics import METRICS
from leafkit.evaluation.modes import MODES, Retriever, make_retrievers
from leafkit.evaluation.retrieval import RetrievalPlan, measure_collection
from leafkit.evaluation.students import OpenStudent, open_students
from leafkit.teachers.open import open_teacher


@pytest.fixture(scope="module")
def collection(beir_folder):
    return read_collection(beir_folder)


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return open_teacher(tiny_teacher, compute="float32")


def plan(found, **fields):
    space = found[0].document_encoder.space
    base = {
        "retrievers": found,
        "cells": [full_cell(space)],
        "full_cell": full_cell(space),
        "teacher_is_optional": True,
        "bm25": False,
        "cross_check": False,
        "seed": 0,
    }
    return RetrievalPlan(**(base | fields))


def test_a_student_equal_to_its_teacher_has_full_retention_in_every_mode(collection, teacher, exact_student):
    rows = measure_collection(
        collection, plan(make_retrievers(MODES, teacher, open_students(exact_student, "torch", "cpu")))
    ).rows
    assert [row.mode for row in rows] == list(MODES)
    for row in rows:
        # The vectors differ by one part in a million, which may swap neighbours of nearly equal score.
        assert row.retention == pytest.approx(1, abs=0.02)
        assert row.metrics["recall@100"] == pytest.approx(rows[0].metrics["recall@100"], abs=0.02)


def test_the_retention_of_a_noisy_student_lies_in_its_interval(collection, teacher, noisy_student):
    rows = measure_collection(
        collection, plan(make_retrievers(MODES, teacher, open_students(noisy_student, "torch", "cpu")))
    ).rows
    for row in rows[1:]:
        assert row.retention < 0.9
        assert row.retention_interval.low <= row.retention <= row.retention_interval.high
        assert row.retention == pytest.approx(row.metrics["ndcg@10"] / rows[0].metrics["ndcg@10"])


def test_ndcg_agrees_with_beir_on_the_same_vectors(collection, teacher, noisy_student):
    pytest.importorskip("beir")
    found = make_retrievers(MODES, teacher, open_students(noisy_student, "torch", "cpu"))
    cells = [Cell(dim=dim, precision="float32") for dim in (32, 8)]
    rows = measure_collection(collection, plan(found, cells=cells, cross_check=True)).rows
    assert len(rows) == 6
    for row in rows:
        # BEIR rounds to five digits.
        assert row.metrics["ndcg@10"] == pytest.approx(row.beir_ndcg, abs=5.1e-6)


def test_searching_in_blocks_gives_the_same_rows(collection, teacher, monkeypatch):
    found = plan(make_retrievers(["teacher"], teacher, []), cells=[Cell(dim=32, precision="binary")])
    whole = measure_collection(collection, found).rows
    monkeypatch.setattr(retrieval, "_QUERY_BLOCK", 7)
    assert measure_collection(collection, found).rows == whole


def test_retention_uses_the_teacher_of_the_same_cell_and_of_full_the_full_teacher(collection, teacher, noisy_student):
    found = make_retrievers(MODES, teacher, open_students(noisy_student, "torch", "cpu"))
    small = Cell(dim=8, precision="int8")
    alone = measure_collection(collection, plan(found, cells=[small])).rows
    both = measure_collection(collection, plan(found, cells=[full_cell(teacher.space), small])).rows
    full = both[0].metrics["ndcg@10"]
    assert [(row.dim, row.precision) for row in alone] == [(8, "int8")] * 3
    for row, same in zip(alone, both[3:], strict=True):
        assert row.metrics == same.metrics
        assert row.of_full == same.of_full == pytest.approx(row.metrics["ndcg@10"] / full)
        assert row.retention == same.retention == pytest.approx(row.metrics["ndcg@10"] / alone[0].metrics["ndcg@10"])


class Documents:
    """A teacher like a file of document vectors, without vectors of the queries."""

    signals = frozenset({"embeddings"})

    def __init__(self, teacher):
        self._teacher = teacher
        self.space = teacher.space

    def encode(self, texts, role):
        if role == "query":
            raise VectorError("the file lacks 30 texts")
        return self._teacher.encode(texts, role)


def test_document_vectors_suffice_for_the_asymmetric_mode(collection, teacher, exact_student, caplog):
    found = make_retrievers(MODES, Documents(teacher), open_students(exact_student, "torch", "cpu"))
    with caplog.at_level(logging.WARNING, "leafkit"):
        rows = measure_collection(collection, plan(found)).rows
    assert [(row.mode, row.retention) for row in rows] == [("standard", None), ("asymmetric", None)]
    assert "skipped the teacher mode" in caplog.text
    assert "lacks 30 texts" in caplog.text


def test_missing_query_vectors_are_an_error_if_the_teacher_mode_is_requested(collection, teacher, exact_student):
    found = make_retrievers(MODES, Documents(teacher), open_students(exact_student, "torch", "cpu"))
    with pytest.raises(VectorError, match="lacks 30 texts"):
        measure_collection(collection, plan(found, teacher_is_optional=False))
    with pytest.raises(VectorError, match="lacks 30 texts"):
        measure_collection(collection, plan(found[:1]))


class Counting:
    def __init__(self, encoder):
        self._encoder = encoder
        self.space = encoder.space
        self.asked = []

    def encode(self, texts, role):
        self.asked.append(role)
        return self._encoder.encode(texts, role)


def test_each_side_is_encoded_once_for_all_modes_and_cells(collection, teacher, exact_student):
    (student,) = open_students(exact_student, "torch", "cpu")
    ours, theirs = Counting(student.encoder), Counting(teacher)
    found = make_retrievers(MODES, theirs, [OpenStudent("s", ours, "")])
    cells = [Cell(dim=dim, precision=precision) for dim in (32, 8) for precision in ("float32", "int8", "binary")]
    assert len(measure_collection(collection, plan(found, cells=cells)).rows) == 18
    assert sorted(ours.asked) == sorted(theirs.asked) == ["document", "query"]


class Letters:
    """An encoder that gives each text a direction of its own, the same in both roles."""

    def __init__(self, space, texts):
        self.space = space
        self._rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}

    def encode(self, texts, role):
        vectors = numpy.full((len(texts), self.space.dim), 0.01, dtype=numpy.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[self._rows[text]] = 1.0
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_query_that_is_a_document_does_not_find_itself(tmp_path, teacher):
    """ArguAna's queries are documents. Without the rule, every query's best hit would be the query itself."""
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "text": "x"}\n{"_id": "b", "text": "y"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "a", "text": "x"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\na\tb\t1\n")
    letters = Letters(teacher.space, ["x", "y"])
    (row,) = measure_collection(
        read_collection(tmp_path), plan([Retriever("teacher", None, letters, letters, "")], cross_check=True)
    ).rows
    assert (row.metrics["mrr@10"], row.metrics["ndcg@10"], row.beir_ndcg) == (1.0, 1.0, 1.0)


def test_bm25_finds_only_documents_that_share_a_word(collection, teacher):
    rows = measure_collection(collection, plan(make_retrievers(["teacher"], teacher, []), bm25=True)).rows
    assert (rows[-1].mode, rows[-1].dim, rows[-1].retention) == ("bm25", None, None)
    assert rows[-1].metrics["ndcg@10"] > rows[0].metrics["ndcg@10"]
    run = bm25_rankings(collection)
    words = {
        id_: set(text.lower().split()) for id_, text in zip(collection.document_ids, collection.documents, strict=True)
    }
    for query, text in zip(collection.query_ids, collection.queries, strict=True):
        assert all(words[document] & set(text.lower().split()) for document in run[query])


def test_a_row_fused_with_bm25_follows_each_row_of_vectors(collection, teacher, noisy_student):
    retrievers = make_retrievers(["teacher", "asymmetric"], teacher, open_students(noisy_student, "torch", "cpu"))
    rows = measure_collection(collection, plan(retrievers, bm25=True, hybrid=True)).rows
    assert [row.mode for row in rows] == ["teacher", "teacher+bm25", "asymmetric", "asymmetric+bm25", "bm25"]
    assert [row.dim for row in rows] == [32, 32, 32, 32, None]
    # Retention compares with the teacher's vectors alone.
    assert rows[3].retention == pytest.approx(rows[3].metrics["ndcg@10"] / rows[0].metrics["ndcg@10"])
    assert rows[3].metrics["ndcg@10"] > rows[2].metrics["ndcg@10"]


@pytest.mark.parametrize("precision", ["float32", "binary"])
def test_the_ends_of_a_hybrid_ranking_are_the_vectors_and_bm25(collection, teacher, precision):
    finder = CellFinder(teacher.encode(collection.documents, "document"), Cell(dim=32, precision=precision))
    queries, bm25 = teacher.encode(collection.queries, "query"), bm25_rankings(collection)
    dense, words = (hybrid_rankings(collection, queries, finder, bm25, weight) for weight in (1.0, 0.0))
    hits = finder.hits(queries, 10)
    for at, query in enumerate(collection.query_ids):
        assert list(dense[query])[:10] == [collection.document_ids[row] for row in hits.rows[at].tolist()]
        found = [name for name in list(bm25[query])[:10] if bm25[query][name] > min(bm25[query].values())]
        scores = [bm25[query][name] for name in list(words[query])[: len(found)]]
        assert scores == pytest.approx([bm25[query][name] for name in found])


def test_rows_count_queries_and_documents(collection, teacher):
    (row,) = measure_collection(collection, plan(make_retrievers(["teacher"], teacher, []))).rows
    assert (row.queries, row.documents) == (30, 200)
    assert tuple(row.metrics) == METRICS
    assert row.interval.low < row.metrics["ndcg@10"] < row.interval.high


def test_intervals_and_query_scores_belong_to_their_rows(collection, teacher, noisy_student):
    """The full cell is outside the grid here, so its teacher is measured, but has no row and no query scores."""
    retrievers = make_retrievers(MODES, teacher, open_students(noisy_student, "torch", "cpu"))
    small = Cell(dim=8, precision="int8")
    results = measure_collection(collection, plan(retrievers, cells=[small], bm25=True))
    assert [row.mode for row in results.rows] == [*MODES, "bm25"]
    resampled = resampled_means(results.query_scores, seed=0)
    for at, row in enumerate(results.rows):
        assert row.metrics["ndcg@10"] == pytest.approx(results.query_scores[at].mean())
        assert ends(row.interval) == pytest.approx(ends(interval(resampled[:, at])))
        if row.mode != "bm25":
            assert ends(row.retention_interval) == pytest.approx(
                ends(ratio_interval(resampled[:, at], resampled[:, 0]))
            )


def test_intervals_of_the_full_teacher_use_the_full_cell(collection, teacher, noisy_student):
    retrievers = make_retrievers(MODES, teacher, open_students(noisy_student, "torch", "cpu"))
    cells = [Cell(dim=8, precision="int8"), full_cell(teacher.space)]
    results = measure_collection(collection, plan(retrievers, cells=cells))
    resampled = resampled_means(results.query_scores, seed=0)
    for at, row in enumerate(results.rows):
        assert ends(row.of_full_interval) == pytest.approx(ends(ratio_interval(resampled[:, at], resampled[:, 3])))


def ends(interval):
    return interval.low, interval.high
