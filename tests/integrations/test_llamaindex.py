"""LlamaIndex's own classes around the student and the index."""

from __future__ import annotations

import asyncio

import pytest

from leafkit.errors import OptionError
from tests.integrations.conftest import QUERY, STUDENT

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.schema import MetadataMode, TextNode

from leafkit.integrations.llamaindex import LeafkitEmbedding, LeafkitRetriever

pytestmark = pytest.mark.slow


def test_the_block_of_the_page_runs(page, searcher, encoder):
    names = page("llamaindex")
    wanted = searcher.search(QUERY, 5, hybrid=0.6, where={"platform": "linux"})
    assert [line.partition(" ")[0] for line in names["printed"]] == [str(score) for score in wanted.fused.tolist()]
    assert names["vector"] == encoder.encode([QUERY])[0].tolist()


def test_nodes_have_the_text_the_score_and_no_scores_for_the_language_model(searcher):
    retriever = LeafkitRetriever(searcher, k=3)
    nodes, wanted = retriever.retrieve(QUERY), searcher.search(QUERY, 3)
    assert [(one.node.node_id, one.score) for one in nodes] == list(
        zip(wanted.ids, wanted.scores.tolist(), strict=True)
    )
    assert [one.node.get_content() for one in nodes] == [payload["text"] for payload in wanted.payload]
    shown = nodes[0].node.get_content(metadata_mode=MetadataMode.LLM)
    assert f"platform: {wanted.payload[0]['platform']}" in shown
    assert "score" not in shown
    assert [one.node.node_id for one in asyncio.run(retriever.aretrieve(QUERY))] == wanted.ids
    with pytest.raises(OptionError, match="no option 'hybird'"):
        LeafkitRetriever(searcher, hybird=1)


def test_a_query_engine_runs_on_the_retriever(searcher, monkeypatch):
    monkeypatch.setattr(Settings, "_llm", MockLLM())
    synthesizer = get_response_synthesizer(response_mode=ResponseMode.NO_TEXT)
    engine = RetrieverQueryEngine(LeafkitRetriever(searcher, k=2), synthesizer)
    assert [one.node.node_id for one in engine.query(QUERY).source_nodes] == searcher.search(QUERY, 2).ids


def test_an_index_with_the_teachers_vectors_takes_queries_and_refuses_documents(searcher, encoder):
    hits = searcher.search(QUERY, 20)
    vectors = encoder.encode([payload["text"] for payload in hits.payload], "document").tolist()
    nodes = [TextNode(id_=name, text=name, embedding=vector) for name, vector in zip(hits.ids, vectors, strict=True)]
    embedding = LeafkitEmbedding(STUDENT)
    assert embedding.model_name == STUDENT
    found = VectorStoreIndex(nodes, embed_model=embedding).as_retriever(similarity_top_k=1).retrieve(QUERY)
    scores = encoder.encode([QUERY])[0] @ encoder.encode([payload["text"] for payload in hits.payload], "document").T
    assert found[0].node.node_id == hits.ids[scores.argmax()]
    with pytest.raises(OptionError, match="documents belong to the teacher"):
        VectorStoreIndex([TextNode(text="a page")], embed_model=embedding)
