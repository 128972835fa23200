from __future__ import annotations

import copy
import math

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.evaluation.metrics import METRICS, judged_queries, score_rankings, without_own_documents


def random_rankings(seed, *, queries=20, documents=60, found=40, distinct_scores=8):
    """Judgements and rankings with many equal scores; some judged documents are never found."""
    draw = numpy.random.default_rng(seed)
    names = [f"d{i}" for i in range(documents)]
    judgements, run = {}, {}
    for query in (f"q{i}" for i in range(queries)):
        judged = draw.choice(documents, size=6, replace=False)
        judgements[query] = {names[i]: int(draw.integers(0, 3)) for i in judged} | {names[judged[0]]: 1}
        hits = draw.choice(documents, size=found, replace=False)
        run[query] = {names[i]: float(draw.integers(distinct_scores)) / 7 for i in hits}
    return judgements, run


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_metrics_agree_with_mteb_on_the_same_rankings(seed):
    retrieval_metrics = pytest.importorskip("mteb._evaluators.retrieval_metrics")
    judgements, run = random_rankings(seed)
    theirs = retrieval_metrics.calculate_retrieval_scores(run, judgements, [10, 100, 1000])
    ours = score_rankings(judgements, run).means()
    assert ours["ndcg@10"] == pytest.approx(theirs.ndcg["NDCG@10"], abs=5.1e-6)
    assert ours["recall@10"] == pytest.approx(theirs.recall["Recall@10"], abs=5.1e-6)
    assert ours["recall@100"] == pytest.approx(theirs.recall["Recall@100"], abs=5.1e-6)
    assert ours["mrr@10"] == pytest.approx(theirs.mrr["MRR@10"], abs=1e-12)
    assert ours["map"] == pytest.approx(theirs.map["MAP@1000"], abs=5.1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_metrics_agree_with_beir_once_own_documents_are_removed(seed):
    evaluation = pytest.importorskip("beir.retrieval.evaluation").EvaluateRetrieval
    judgements, run = random_rankings(seed)
    renamed = {query.replace("q", "d"): hits for query, hits in run.items()}
    judged = {query.replace("q", "d"): relevances for query, relevances in judgements.items()}
    ndcg, mean_precision, recall, _ = evaluation.evaluate(judged, copy.deepcopy(renamed), [10, 1000])
    ours = score_rankings(judged, without_own_documents(renamed)).means()
    assert ours["ndcg@10"] == pytest.approx(ndcg["NDCG@10"], abs=5.1e-6)
    assert ours["map"] == pytest.approx(mean_precision["MAP@1000"], abs=5.1e-6)
    assert ours["recall@10"] == pytest.approx(recall["Recall@10"], abs=5.1e-6)


def test_a_perfect_ranking_scores_one_in_everything():
    scores = score_rankings({"q": {"a": 2, "b": 1}}, {"q": {"a": 0.9, "b": 0.8, "c": 0.7}})
    assert {name: values[0] for name, values in scores.values.items()} == pytest.approx(dict.fromkeys(METRICS, 1.0))


def test_a_ranking_worked_by_hand():
    scores = score_rankings({"q": {"a": 2, "b": 1}}, {"q": {"c": 0.9, "b": 0.8, "a": 0.7}}).means()
    gain = 1 / math.log2(3) + 2 / math.log2(4)
    best = 2 / math.log2(2) + 1 / math.log2(3)
    assert scores["ndcg@10"] == pytest.approx(gain / best)
    assert scores["mrr@10"] == pytest.approx(1 / 2)
    assert scores["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_equal_scores_are_ranked_by_descending_id():
    assert score_rankings({"q": {"b": 1}}, {"q": {"a": 0.5, "b": 0.5}}).means()["mrr@10"] == 1.0
    assert score_rankings({"q": {"a": 1}}, {"q": {"a": 0.5, "b": 0.5}}).means()["mrr@10"] == 0.5


@pytest.mark.parametrize(("rank", "expected"), [(1, 1.0), (10, 0.1), (11, 0.0)])
def test_the_reciprocal_rank_is_cut_at_ten(rank, expected):
    run = {f"d{place:02}": 1.0 - place / 100 for place in range(1, 20)}
    assert score_rankings({"q": {f"d{rank:02}": 1}}, {"q": run}).means()["mrr@10"] == pytest.approx(expected)


def test_queries_without_a_relevant_document_are_ignored():
    judgements = {"q": {"a": 1}, "irrelevant": {"a": 0}, "empty": {}}
    assert list(judged_queries(judgements)) == ["q"]
    assert score_rankings(judgements, {query: {"a": 1.0} for query in judgements}).queries == ["q"]


def test_a_judged_document_outside_the_corpus_stays_in_the_denominator():
    assert score_rankings({"q": {"a": 1, "missing": 1}}, {"q": {"a": 1.0}}).means()["recall@10"] == 0.5


def test_a_query_without_results_scores_zero_and_counts():
    scores = score_rankings({"q": {"a": 1}, "silent": {"a": 1}}, {"q": {"a": 1.0}})
    assert scores.queries == ["q", "silent"]
    assert scores.means()["ndcg@10"] == 0.5


def test_rankings_without_any_result_score_zero():
    assert set(score_rankings({"q": {"a": 1}}, {}).means().values()) == {0.0}


def test_only_documents_with_their_querys_id_are_removed():
    assert without_own_documents({"a": {"a": 1.0, "b": 0.5}, "c": {"a": 1.0}}) == {"a": {"b": 0.5}, "c": {"a": 1.0}}
