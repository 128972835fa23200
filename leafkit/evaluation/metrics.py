"""Retrieval metrics of every query, computed by trec_eval through pytrec-eval-terrier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from leafkit.extras import import_optional

Judgements = Mapping[str, Mapping[str, int]]
Rankings = dict[str, dict[str, float]]
Float64 = NDArray[numpy.float64]

DEPTH = 1000
"""Documents kept for each query: the depth at which MAP is taken, as BEIR and mteb take it."""

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
    """Each metric of each query, in the order of ``queries``: that of the judgements."""

    queries: list[str]
    values: dict[str, Float64]

    @classmethod
    def joined(cls, parts: Sequence[QueryScores]) -> QueryScores:
        """The scores of all queries of ``parts``, one after the other."""
        return cls(
            queries=[query for part in parts for query in part.queries],
            values={name: numpy.concatenate([part.values[name] for part in parts]) for name in METRICS},
        )

    def means(self) -> dict[str, float]:
        """Each metric's mean over the queries."""
        return {name: float(values.mean()) for name, values in self.values.items()}


def judged_queries(judgements: Judgements) -> dict[str, dict[str, int]]:
    """The judgements of the queries that have at least one relevant document."""
    return {
        query: dict(documents)
        for query, documents in judgements.items()
        if any(relevance > 0 for relevance in documents.values())
    }


def without_own_documents(run: Rankings) -> Rankings:
    """``run`` without documents of their query's own id, as BEIR scores it (ArguAna's queries are documents)."""
    return {
        query: {document: score for document, score in documents.items() if document != query}
        for query, documents in run.items()
    }


def score_rankings(judgements: Judgements, run: Rankings) -> QueryScores:
    """The metrics of ``run`` for every query that has a relevant document.

    Documents are ranked by score, equal scores by descending id: trec_eval's own rule. A judged document that
    is not in the corpus stays in the denominator of recall, MAP and nDCG, as in BEIR. A query without any
    result scores zero.
    """
    judged = judged_queries(judgements)
    measures = {"ndcg_cut.10", "recall.10,100", "recip_rank", "map"}
    found = import_optional("pytrec_eval").RelevanceEvaluator(judged, measures).evaluate(run)
    queries = list(judged)
    values = {
        name: numpy.array([found[query][trec] if query in found else 0.0 for query in queries])
        for name, trec in _TREC_NAMES.items()
    }
    # recip_rank of a run cut at ten ranks is recip_rank itself down to 1/10 and zero below it.
    values["mrr@10"][values["mrr@10"] < 1 / 10.5] = 0.0
    return QueryScores(queries=queries, values=values)
