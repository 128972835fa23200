"""BM25, a baseline without vectors, alone and fused with vectors as a hybrid search fuses them.

The bm25s library with its defaults (Lucene's formula, k1 1.5, b 0.75): English stop words are removed and words are not
stemmed. Lù, "BM25S", 2024, https://arxiv.org/abs/2407.03618
"""

from __future__ import annotations

import numpy

from leafkit.evaluation.collection import Collection
from leafkit.evaluation.grid import CellFinder
from leafkit.evaluation.metrics import DEPTH, Rankings
from leafkit.extras import import_optional
from leafkit.search.hybrid import DENSE_WEIGHT, POOL, Fusion, fuse
from leafkit.search.ranking import Ranking
from leafkit.types import Float32


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


def hybrid_rankings(
    collection: Collection, queries: Float32, finder: CellFinder, bm25: Rankings, fusion: Fusion = DENSE_WEIGHT
) -> Rankings:
    """Return what a hybrid search finds for the ``queries`` (queries, dim) of ``collection``.

    ``bm25`` comes from `bm25_rankings`. A document with the query's own id takes part in neither side.
    """
    ids = collection.document_ids
    rows = {name: row for row, name in enumerate(ids)}
    found = finder.hits(queries, min(POOL + 1, len(ids)))
    rankings: Rankings = {}
    for query, hits, scores in zip(collection.query_ids, found.rows, found.scores, strict=True):
        own = rows.get(query, -1)
        dense = Ranking(hits[hits != own][:POOL], scores[hits != own][:POOL])
        words = [(rows[name], score) for name, score in bm25[query].items() if rows[name] != own][:POOL]
        lexical = Ranking(
            numpy.array([row for row, _ in words], dtype=numpy.int64),
            numpy.array([score for _, score in words], dtype=numpy.float32),
        )
        fused = fuse(dense, lexical, fusion, 2 * POOL)
        rankings[query] = {ids[row]: score for row, score in zip(fused.rows.tolist(), fused.scores.tolist())}
    return rankings
