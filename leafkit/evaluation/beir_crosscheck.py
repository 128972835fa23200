"""BEIR's own search and scoring of the same vectors, to check ours against."""

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
    """nDCG@10 as BEIR finds it, to its five decimals: exact search by inner product, then `EvaluateRetrieval`.

    ``queries`` and ``documents`` are the vectors of the collection's queries and documents, in its order.
    """
    search = import_optional("beir.retrieval.search.dense").DenseRetrievalExactSearch
    evaluation = import_optional("beir.retrieval.evaluation").EvaluateRetrieval
    corpus = {document: {"title": "", "text": "", "row": row} for row, document in enumerate(collection.document_ids)}
    asked = dict(zip(collection.query_ids, collection.queries, strict=True))
    if len(asked) == 1:
        # BEIR's search reads the second query's scores. This one has no judgements, so it counts for nothing.
        asked[f"{collection.query_ids[0]}, again"] = ""
        queries = queries.repeat(2, axis=0)
    model = search(_Vectors(queries, documents), show_progress_bar=False)
    retriever = evaluation(model, k_values=[10, DEPTH], score_function="dot")
    results = retriever.retrieve(corpus, asked)
    ndcg, *_ = retriever.evaluate(collection.judgements, results, [10])
    return float(ndcg["NDCG@10"])


@dataclass(frozen=True)
class _Vectors:
    """What BEIR takes for a model: it hands over the vectors that there are already."""

    queries: Float32
    documents: Float32

    def encode_queries(self, queries: Sequence[str], **_: Any) -> Any:
        """All query vectors; BEIR asks for them in one call."""
        return import_optional("torch").from_numpy(self.queries)

    def encode_corpus(self, corpus: Sequence[dict[str, Any]], **_: Any) -> Any:
        """The vectors of a chunk of documents, which BEIR hands over in its own order."""
        rows = numpy.array([document["row"] for document in corpus])
        return import_optional("torch").from_numpy(self.documents[rows])
