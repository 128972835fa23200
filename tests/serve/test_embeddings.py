"""/v1/embeddings and /embed: the vectors of the student, bit for bit, and queries only."""

import base64
import json

import numpy
import pytest

from tests.serve.conftest import client_of, message

TEXTS = ["copy a file", "list the open ports of this machine"]


def vectors(answer):
    assert answer.status_code == 200, answer.text
    return numpy.array([one["embedding"] for one in answer.json()["data"]], dtype=numpy.float32)


def test_both_endpoints_give_the_vectors_of_the_student_bit_for_bit(client, encoder):
    expected = encoder.encode(TEXTS, "query")
    openai = client.post("/v1/embeddings", json={"model": "docs", "input": TEXTS})
    tei = client.post("/embed", json={"inputs": TEXTS, "truncate": True, "normalize": True, "prompt_name": "query"})
    assert numpy.array_equal(vectors(openai), expected)
    assert numpy.array_equal(numpy.array(tei.json(), dtype=numpy.float32), expected)


def test_base64_holds_little_endian_floats(client, encoder):
    content = {"model": "docs", "input": TEXTS[0], "encoding_format": "base64", "user": "me"}
    answer = client.post("/v1/embeddings", json=content).json()
    row = numpy.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), dtype="<f4")
    assert numpy.array_equal(row, encoder.encode(TEXTS[:1], "query")[0])


def test_the_answer_has_the_shape_of_the_openai_api(client, encoder):
    answer = client.post("/v1/embeddings", json={"model": "docs", "input": TEXTS}).json()
    tokens = sum(encoder.tokens(text, "query")["input_ids"].size for text in TEXTS)
    assert (answer["object"], answer["model"]) == ("list", "docs")
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert [(one["object"], one["index"]) for one in answer["data"]] == [("embedding", 0), ("embedding", 1)]


def test_a_vector_from_the_server_finds_what_its_text_finds(client):
    (row,) = client.post("/embed", json={"inputs": "copy a file"}).json()
    by_text, by_vector = ({"query": "copy a file"}, {"vector": row})
    assert client.post("/search", json=by_text).json() == client.post("/search", json=by_vector).json()


def test_an_index_that_keeps_a_prefix_offers_its_width(build, encoder):
    with client_of(build(dim=128)) as client:
        row = client.post("/embed", json={"inputs": TEXTS[0], "dimensions": 128}).json()[0]
        prefix = encoder.encode(TEXTS[:1], "query")[0, :128]
        numpy.testing.assert_allclose(row, prefix / numpy.linalg.norm(prefix), atol=1e-7)
        assert len(client.post("/search", json={"vector": row}).json()["hits"]) == 10
        wrong = client.post("/embed", json={"inputs": TEXTS[0], "dimensions": 64})
        assert "dimensions is 64; expected 384 or 128" in message(wrong, 422)


def test_a_rotated_index_gives_hits_but_no_vectors_of_its_own_coordinates(build, searcher):
    with client_of(build(rotate="random")) as client:
        hits = client.post("/search", json={"query": TEXTS[0], "k": 3}).json()["hits"]
        assert [hit["id"] for hit in hits] == searcher.search(TEXTS[0], 3).ids
        assert "fit this index alone" in message(client.post("/embed", json={"inputs": TEXTS[0]}), 422)


@pytest.mark.parametrize("word", ["document", "passage", "search_document"])
def test_documents_are_refused_with_the_reason(client, word):
    tei = client.post("/embed", json={"inputs": "a", "prompt_name": word})
    openai = client.post("/v1/embeddings", json={"model": "docs", "input": "a", "input_type": word})
    for answer in (tei, openai):
        assert "encodes queries only. Documents belong to the teacher" in message(answer, 422)


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("/v1/embeddings", {"input": "a"}, 422, "no model"),
        ("/v1/embeddings", {"model": "doc", "input": "a"}, 404, "did you mean 'docs'?"),
        ("/v1/embeddings", {"model": 1, "input": "a"}, 422, "model is 1"),
        ("/v1/embeddings", {"model": "docs"}, 422, "input is None"),
        ("/v1/embeddings", {"model": "docs", "input": [[1, 2]]}, 422, "token ids"),
        ("/v1/embeddings", {"model": "docs", "input": ["a", None]}, 422, "text 2 of 2 is None"),
        ("/v1/embeddings", {"model": "docs", "input": "a", "encoding_format": "int8"}, 422, "expected float or base64"),
        ("/v1/embeddings", {"model": "docs", "input": "a", "dimensions": 0}, 422, "dimensions is 0"),
        ("/v1/embeddings", {"model": "docs", "input": "a", "dimension": 384}, 422, "did you mean 'dimensions'?"),
        ("/v1/embeddings", {"model": "docs", "input": "a", "input_type": "classification"}, 422, "expected query"),
        ("/embed", {"input": "a"}, 422, "did you mean 'inputs'?"),
        ("/embed", {"inputs": "a", "normalize": 1}, 422, "normalize is 1; expected true"),
        ("/embed", {"inputs": "a", "normalize": False}, 422, "normalize is False"),
        ("/embed", {"inputs": "a", "truncate": "no"}, 422, "truncate is 'no'"),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, 422, "truncation_direction is 'Left'"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_a_request_that_cannot_be_answered_says_why(client, path, content, status, said):
    assert said in message(client.post(path, json=content), status)
