"""Retrieval metrics of every query, computed by trec_eval through pytrec-eval-terrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from leafkit.extras import import_optional

Judgements = Mapping[str, Mapping[str, int]]
"""The relevance of each judged document of each query, by ids."""
Rankings = dict[str, dict[str, float]]
"""The score of each document found for each query, by ids (a "run" in trec_eval's words)."""
Float64 = NDArray[numpy.float64]

DEPTH = 1000
"""Documents kept for each query: the depth at which BEIR and mteb compute MAP."""

MAIN_METRIC = "ndcg@10"
METRICS = (MAIN_METRIC, "recall@10", "recall@100", "mrr@10", "map")

_TREC_NAMES = {
    MAIN_METRIC: "ndcg_cut_10",
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "mrr@10": "recip_rank",
    "map": "map",
}


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """Each metric of each query: ``values`` maps a metric to an array with one value per entry of ``queries``."""

    queries: list[str]
    values: dict[str, Float64]

    @classmethod
    def joined(cls, parts: Sequence[QueryScores]) -> QueryScores:
        """Concatenate the queries and scores of ``parts``."""
        return cls(
            queries=[query for part in parts for query in part.queries],
            values={name: numpy.concatenate([part.values[name] for part in parts]) for name in METRICS},
        )

    def means(self) -> dict[str, float]:
        """Return each metric's mean over the queries."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def judged_queries(judgements: Judgements) -> dict[str, dict[str, int]]:
    """Return the judgements of the queries that have at least one relevant document."""
    return {
        query: dict(documents)
        for query, documents in judgements.items()
        if any(relevance > 0 for relevance in documents.values())
    }


def without_own_documents(rankings: Rankings) -> Rankings:
    """Remove documents with their query's id from ``rankings``, as BEIR does (ArguAna's queries are documents)."""
    return {
        query: {document: score for document, score in documents.items() if document != query}
        for query, documents in rankings.items()
    }


def score_rankings(judgements: Judgements, rankings: Rankings) -> QueryScores:
    """Return the metrics of every query that has a relevant document, in the order of ``judgements``.

    Documents are ranked by score, and documents of equal score by descending id: trec_eval's own rule. A judged
    document that is missing from the corpus still counts in the denominator of recall, MAP and nDCG, as in BEIR.
    A query without any result scores zero.
    """
    judged = judged_queries(judgements)
    measures = {"ndcg_cut.10", "recall.10,100", "recip_rank", "map"}
    found = import_optional("pytrec_eval").RelevanceEvaluator(judged, measures).evaluate(rankings)
    queries = list(judged)
    values = {
        name: numpy.array([found[query][trec] if query in found else 0.0 for query in queries])
        for name, trec in _TREC_NAMES.items()
    }
    # MRR@10 equals the reciprocal rank down to 1/10 and is zero below; 1/10.5 lies between ranks ten and eleven.
    values["mrr@10"][values["mrr@10"] < 1 / 10.5] = 0.0
    return QueryScores(queries=queries, values=values)
