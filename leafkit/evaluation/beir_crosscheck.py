"""nDCG@10 computed by BEIR's own search and scoring on the same vectors, to check leafkit's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from leafkit.evaluation.collection import Collection
from leafkit.evaluation.metrics import DEPTH
from leafkit.extras import import_optional
from leafkit.types import Float32


def beir_ndcg(collection: Collection, queries: Float32, documents: Float32) -> float:
    """Return BEIR's nDCG@10, rounded to five decimals: exact search by inner product, then `EvaluateRetrieval`.

    ``queries`` (queries, dim) and ``documents`` (documents, dim) are unit vectors in the collection's order.
    """
    search = import_optional("beir.retrieval.search.dense").DenseRetrievalExactSearch
    evaluation = import_optional("beir.retrieval.evaluation").EvaluateRetrieval
    corpus = {document: {"title": "", "text": "", "row": row} for row, document in enumerate(collection.document_ids)}
    asked = dict(zip(collection.query_ids, collection.queries, strict=True))
    if len(asked) == 1:
        # BEIR's search fails with a single query, because it reads the second query's scores. The added query has no
        # judgements, so it does not change the figure.
        asked[f"{collection.query_ids[0]}, again"] = ""
        queries = queries.repeat(2, axis=0)
    model = search(_PrecomputedModel(queries, documents), show_progress_bar=False)
    retriever = evaluation(model, k_values=[10, DEPTH], score_function="dot")
    results = retriever.retrieve(corpus, asked)
    ndcg, *_ = retriever.evaluate(collection.judgements, results, [10])
    return float(ndcg["NDCG@10"])


@dataclass(frozen=True)
class _PrecomputedModel:
    """A model in BEIR's sense that returns vectors computed before."""

    queries: Float32
    documents: Float32

    def encode_queries(self, queries: Sequence[str], **_: Any) -> Any:
        """Return all query vectors; BEIR requests them in one call."""
        return import_optional("torch").from_numpy(self.queries)

    def encode_corpus(self, corpus: Sequence[dict[str, Any]], **_: Any) -> Any:
        """Return the vectors of a chunk of documents, in the order that BEIR passes them."""
        rows = numpy.array([document["row"] for document in corpus])
        return import_optional("torch").from_numpy(self.documents[rows])
