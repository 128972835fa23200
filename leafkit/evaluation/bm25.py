"""BM25, a baseline without vectors: the bm25s library with its defaults (Lucene's formula, k1 1.5, b 0.75).

English stop words are removed and words are not stemmed. Lù, "BM25S", 2024, https://arxiv.org/abs/2407.03618
"""

from __future__ import annotations

from leafkit.evaluation.collection import Collection
from leafkit.evaluation.metrics import DEPTH, Rankings
from leafkit.extras import import_optional


def bm25_rankings(collection: Collection) -> Rankings:
    """Return the best documents of every query by BM25, without documents that share no word with the query."""
    bm25s = import_optional("bm25s")
    texts = bm25s.tokenize(collection.documents, stopwords="en", show_progress=False)
    index = bm25s.BM25()
    index.index(texts, show_progress=False)
    words = bm25s.tokenize(collection.queries, stopwords="en", show_progress=False)
    # One more than DEPTH: a document with the query's own id is removed later.
    k = min(DEPTH + 1, len(collection.document_ids))
    rows, scores = index.retrieve(words, k=k, show_progress=False)
    ids = collection.document_ids
    return {
        query: {ids[row]: score for row, score in zip(found.tolist(), values.tolist(), strict=True) if score > 0}
        for query, found, values in zip(collection.query_ids, rows, scores, strict=True)
    }
