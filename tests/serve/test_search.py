"""POST /search: the hits of `Searcher.search`, and a message for everything that is not a search."""

import json

import numpy
import pytest

from tests.fixtures.packages import index_vectors
from tests.serve.conftest import client_of, message


def rows(hits):
    return [{"id": i, "score": s, "payload": p} for i, s, p in zip(hits.ids, hits.scores.tolist(), hits.payload)]


def test_a_text_has_the_hits_of_the_searcher(client, searcher):
    answer = client.post("/search", json={"query": "copy a file", "k": 5})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"index": "docs", "hits": rows(searcher.search("copy a file", 5))}


def test_each_text_of_a_list_has_the_hits_that_it_has_alone(client, searcher):
    texts = ["copy a file", "list open ports", "copy a file"]
    answer = client.post("/search", json={"query": texts, "k": 3, "allow": ["doc 1", "doc 2", "doc 3"]})
    alone = [rows(searcher.search(text, 3, allow=["doc 1", "doc 2", "doc 3"])) for text in texts]
    assert [result["hits"] for result in answer.json()["results"]] == alone


def test_a_vector_and_a_list_of_vectors_have_the_hits_of_the_searcher(client, searcher):
    vectors = numpy.random.default_rng(1).standard_normal((2, searcher.space.dim)).astype(numpy.float32)
    one = client.post("/search", json={"vector": vectors[0].tolist()})
    two = client.post("/search", json={"vector": vectors.tolist(), "k": 2})
    assert one.json()["hits"] == rows(searcher.search(vectors[0]))
    assert [result["hits"] for result in two.json()["results"]] == [rows(h) for h in searcher.search(vectors, 2)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "neither query nor vector"),
        ({"query": "a", "vector": [1.0]}, "both query and vector"),
        ({"qurey": "a"}, "no field 'qurey'; did you mean 'query'?"),
        ({"query": "a", "kk": 3}, "no field 'kk'; did you mean 'k'?"),
        ({"query": " \n"}, "text 1 of 1 is ' \\n'; expected a text that is not blank"),
        ({"query": ["a", ""]}, "text 2 of 2 is ''"),
        ({"query": []}, "query is []; expected a text or a list"),
        ({"query": {"text": "a"}}, "expected a text or a list"),
        ({"query": [1, 2]}, "token ids"),
        ({"query": "\ud800"}, "not valid Unicode"),
        ({"query": "a" * 101}, "101 characters; expected at most 100"),
        ({"query": ["a"] * 9}, "9 items; expected at most 8"),
        ({"query": "a", "k": 0}, "k is 0; expected a whole number from 1 to 50"),
        ({"query": "a", "k": 10**9}, "k is 1000000000"),
        ({"query": "a", "k": True}, "k is True"),
        ({"query": "a", "k": 2.0}, "k is 2.0"),
        ({"query": "a", "k": "10"}, "k is '10'"),
        ({"query": "a", "allow": "doc 1"}, "allow is 'doc 1'; expected a list of ids"),
        ({"query": "a", "index": 3}, "index is 3; expected the name"),
        ({"vector": []}, "expected a list of numbers"),
        ({"vector": "1 2"}, "expected a list of numbers"),
        ({"vector": [[1.0], "a"]}, "expected a list of numbers"),
        ({"vector": [1.0, None]}, "expected a list of numbers"),
        ({"vector": [10**400]}, "expected a list of numbers"),
        ({"vector": [1.0, 2.0]}, "shape (2,); expected rows of 384 numbers"),
        ({"vector": [float("nan")] * 384}, "finite"),
        ({"vector": [1e300] * 384}, "finite"),
        ({"vector": [0.0] * 384}, "zero"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_search_that_cannot_be_answered_says_why(client, content, said):
    assert said in message(client.post("/search", content=json.dumps(content)), 422)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"a"', b"\xff", b"[" * 9000, b'{"query": ' + b"1" * 5000 + b"}", b"\x00"], ids=repr
)
def test_a_body_that_is_no_json_object_is_refused(client, body):
    assert "not a JSON object" in message(client.post("/search", content=body), 400)


def test_another_index_is_named_or_refused(vectors_index):
    with client_of(vectors_index, f"copy={vectors_index}") as client:
        content = {"vector": [1.0] * 384, "k": 1}
        assert client.post("/search", json={**content, "index": "copy"}).json()["index"] == "copy"
        assert "name one of docs, copy" in message(client.post("/search", json=content), 422)
        wrong = client.post("/search", json={**content, "index": "dcos"})
        assert "no index 'dcos' is served; did you mean 'docs'?" in message(wrong, 404)


def test_an_index_without_a_student_is_searched_with_vectors(vectors_index):
    with client_of(vectors_index) as client:
        assert client.get("/health").status_code == 200
        said = message(client.post("/search", json={"query": "a"}), 422)
        assert "the index docs was built without a student" in said
        assert str(vectors_index.parent) not in said


def test_an_error_names_the_index_whatever_its_folder_is_called(vectors_index, monkeypatch):
    monkeypatch.chdir(vectors_index)
    with client_of(".") as client:
        said = message(client.post("/search", json={"query": "a"}), 422)
        assert said.startswith("the index docs was built without a student, so it cannot encode texts. Open it with")
        assert len(client.post("/search", json={"vector": [1.0] * 384}).json()["hits"]) == 10
        assert "without a student" in message(client.post("/embed", json={"inputs": "a"}), 422)


def test_a_payload_that_json_cannot_hold_is_still_sent(student_space, tmp_path):
    payload = [{"text": "half \ud83d", "size": float("nan"), "list": [float("inf"), 1.5]}]
    vector = numpy.eye(1, student_space.dim, dtype=numpy.float32)
    folder = index_vectors(["one"], vector, student_space, tmp_path / "one.index", payload=payload)
    with client_of(folder) as client:
        (hit,) = client.post("/search", json={"vector": vector[0].tolist()}).json()["hits"]
    assert hit["payload"] == {"text": "half \ud83d", "size": None, "list": [None, 1.5]}


def test_a_hybrid_search_has_the_hits_and_both_scores_of_the_searcher(client, searcher):
    hits = searcher.search("text 7 and 8", 3, hybrid=0.5)
    answer = client.post("/search", json={"query": "text 7 and 8", "k": 3, "hybrid": 0.5}).json()["hits"]
    assert [(hit["id"], hit["score"], hit["fused"]) for hit in answer] == [
        *zip(hits.ids, hits.scores.tolist(), hits.fused.tolist())
    ]
    assert "fused" not in client.post("/search", json={"query": "text 7"}).json()["hits"][0]


@pytest.mark.parametrize("value", [1.5, -1, "bm25", [0.5], float("nan")], ids=repr)
def test_a_weight_that_is_none_is_refused(client, value):
    answer = client.post("/search", content=json.dumps({"query": "text 7", "hybrid": value}))
    assert "hybrid is" in message(answer, 422)


def test_a_hybrid_search_with_a_vector_is_refused(client):
    assert "needs the text" in message(client.post("/search", json={"vector": [1.0] * 384, "hybrid": 0.5}), 422)


@pytest.mark.parametrize("where", ["row >= 7 and row < 9", {"row": {">=": 7, "<": 9}}], ids=["text", "mapping"])
def test_a_filter_is_passed_on_as_text_or_mapping(client, searcher, where):
    hits = client.post("/search", json={"query": "copy a file", "where": where}).json()["hits"]
    assert hits == rows(searcher.search("copy a file", where=where))
    assert {hit["payload"]["row"] for hit in hits} == {7, 8}


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("row >=", "wrong at character 7"),
        ({"rwo": 7}, "rwo"),
        ({"row": {"~": 7}}, "row"),
        ({"and": "x"}, "and"),
        (3, "where is 3; expected an object"),
        (["row"], "where is ['row']"),
        ({}, "empty"),
    ],
    ids=lambda value: json.dumps(value)[:30] if not isinstance(value, str) else value[:20],
)
def test_a_filter_that_means_nothing_is_refused(client, where, said):
    assert said in message(client.post("/search", json={"query": "copy a file", "where": where}), 422)
