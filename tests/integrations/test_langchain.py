"""LangChain's own classes around the student and the index."""

from __future__ import annotations

import asyncio

import numpy
import pytest

from leafkit.errors import OptionError
from tests.integrations.conftest import QUERY, STUDENT

pytest.importorskip("langchain_core", reason="langchain-core is not installed")
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from leafkit.integrations.langchain import LeafkitEmbeddings, LeafkitRetriever

pytestmark = pytest.mark.slow


class Given:
    """An encoder of documents that looks their vectors up: it stands for the teacher."""

    def __init__(self, space, texts, vectors):
        self.space = space
        self._rows = dict(zip(texts, vectors, strict=True))

    def encode(self, texts, role):
        assert role == "document"
        return numpy.stack([self._rows[text] for text in texts])


def test_the_block_of_the_page_runs(page, searcher, encoder):
    names = page("langchain")
    wanted = searcher.search(QUERY, 5, hybrid=0.6, where={"platform": "linux"})
    assert names["printed"] == [
        f"{score} {payload['text']}" for score, payload in zip(wanted.scores.tolist(), wanted.payload, strict=True)
    ]
    assert names["vector"] == encoder.encode([QUERY])[0].tolist()


def test_the_retriever_is_a_runnable_whose_calls_override_its_options(searcher):
    retriever = LeafkitRetriever(index=searcher, k=4, where={"platform": "linux"})
    chain = retriever | RunnableLambda(lambda documents: [document.id for document in documents])
    assert chain.invoke(QUERY) == searcher.search(QUERY, 4, where={"platform": "linux"}).ids
    (osx, both) = retriever.batch([QUERY, QUERY], k=2, where={"platform": "osx"})
    assert [document.id for document in osx] == searcher.search(QUERY, 2, where={"platform": "osx"}).ids
    assert osx == both == asyncio.run(retriever.ainvoke(QUERY, k=2, where={"platform": "osx"}))
    assert [document.metadata["platform"] for document in osx] == ["osx", "osx"]


def test_an_unknown_option_is_refused_when_the_retriever_is_made(searcher):
    with pytest.raises(OptionError, match="no option 'hybird'; did you mean 'hybrid'"):
        LeafkitRetriever(index=searcher, hybird=0.6)


def test_a_vector_store_with_the_teachers_vectors_finds_what_the_index_finds(searcher, encoder):
    hits = searcher.search(QUERY, 50)
    texts = [payload["text"] for payload in hits.payload]
    vectors = encoder.encode(texts, "document")
    with pytest.raises(OptionError, match="documents belong to the teacher"):
        InMemoryVectorStore(LeafkitEmbeddings(STUDENT)).add_texts(texts)
    store = InMemoryVectorStore(LeafkitEmbeddings(STUDENT, documents=Given(encoder.space, texts, vectors)))
    store.add_texts(texts)
    found = [document.page_content for document in store.similarity_search(QUERY, k=10)]
    order = numpy.argsort(-(vectors @ encoder.encode([QUERY])[0]), kind="stable")[:10]
    assert found == [texts[row] for row in order]
