from __future__ import annotations

import json

import pytest

from leafkit.runtimes.golden import GoldenVectors
from leafkit.search.query_encoder import QueryEncoder
from tests.fixtures.embedding_server import EmbeddingServer, serving


@pytest.fixture(scope="session")
def golden(exported):
    return GoldenVectors.read(exported)


@pytest.fixture(scope="session")
def encode(exported):
    """The exported student. The document prompt of the tiny teacher is empty, so no prompt is added."""
    encoder = QueryEncoder.open(exported, precision="float32")
    return lambda texts: encoder.encode(texts, "document")


@pytest.fixture
def server(encode, exported):
    """The exported student behind both protocols."""
    prompts = json.loads((exported / "config_sentence_transformers.json").read_bytes())["prompts"]
    with serving(EmbeddingServer(encode, prompts)) as server:
        yield server
