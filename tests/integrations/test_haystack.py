"""The components in Haystack's pipelines."""

from __future__ import annotations

import pytest

from leafkit.errors import OptionError
from tests.integrations.conftest import QUERY, STUDENT

pytest.importorskip("haystack", reason="haystack-ai is not installed")
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from leafkit.integrations.haystack_ai import LeafkitRetriever, LeafkitTextEmbedder

pytestmark = pytest.mark.slow


def test_the_block_of_the_page_runs(page, searcher, encoder):
    names = page("haystack")
    wanted = searcher.search(QUERY, 5, hybrid=0.6, where={"platform": "linux"})
    assert [line.partition(" ")[0] for line in names["printed"]] == [str(score) for score in wanted.fused.tolist()]
    assert names["vector"] == encoder.encode([QUERY])[0].tolist()


def test_a_saved_pipeline_searches_as_before(index, searcher):
    pipeline = Pipeline()
    pipeline.add_component("retriever", LeafkitRetriever(str(index), top_k=3, hybrid=0.6, where={"platform": "linux"}))
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["leafkit.integrations.haystack_ai"])
    (found,) = loaded.run({"retriever": {"query": QUERY}}).values()
    wanted = searcher.search(QUERY, 3, hybrid=0.6, where={"platform": "linux"})
    assert [(one.id, one.score) for one in found["documents"]] == list(
        zip(wanted.ids, wanted.fused.tolist(), strict=True)
    )
    assert [one.meta["score"] for one in found["documents"]] == wanted.scores.tolist()
    changed = {"query": QUERY, "top_k": 2, "where": {"platform": "osx"}, "hybrid": False}
    (found,) = loaded.run({"retriever": changed}).values()
    assert [one.id for one in found["documents"]] == searcher.search(QUERY, 2, where={"platform": "osx"}).ids
    with pytest.raises(OptionError, match="k is 0; expected at least 1"):
        LeafkitRetriever(str(index)).run(QUERY, top_k=0)


def test_an_unknown_option_is_refused_when_the_retriever_is_made(index):
    with pytest.raises(OptionError, match="no option 'hybird'"):
        LeafkitRetriever(str(index), hybird=1)


def test_the_embedder_serves_a_store_with_the_teachers_vectors(searcher, encoder):
    hits = searcher.search(QUERY, 20)
    vectors = encoder.encode([payload["text"] for payload in hits.payload], "document")
    store = InMemoryDocumentStore(embedding_similarity_function="dot_product")
    store.write_documents(
        [Document(id=name, embedding=vector.tolist()) for name, vector in zip(hits.ids, vectors, strict=True)]
    )
    pipeline = Pipeline()
    pipeline.add_component("embedder", LeafkitTextEmbedder(STUDENT))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    found = pipeline.run({"embedder": {"text": QUERY}})
    best = hits.ids[(vectors @ encoder.encode([QUERY])[0]).argmax()]
    assert [one.id for one in found["retriever"]["documents"]] == [best]
