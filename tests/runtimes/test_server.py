import json
from dataclasses import replace

import numpy
import pytest

from leafkit.errors import InputError
from leafkit.runtimes.server import Server
from leafkit.teachers.api.http import Address, Client
from tests.fixtures.embedding_server import half


def ask(url, golden, **client):
    return Server(address=Address.parse(url), client=Client(timeout=10, **client)).encode(golden)


def least(golden, answer):
    return golden.compare(answer.vectors, None, answer.rows)


@pytest.mark.parametrize(
    ("path", "route", "version"),
    [
        ("", "/embed", "1.9.0"),
        ("/embed", "/embed", "1.9.0"),
        ("/v1", "/v1/embeddings", ""),
        ("/v1/embeddings", "/v1/embeddings", ""),
    ],
)
def test_a_server_of_either_protocol_gives_the_golden_vectors(server, golden, path, route, version):
    answer = ask(server.url + path, golden)
    assert (sorted(answer.rows), answer.version) == (list(range(len(golden.texts))), version)
    assert least(golden, answer).least_cosine > 0.99999
    assert {path for path, content in server.requests if content} == {route}


def test_an_address_without_a_path_is_openai_if_no_tei_answers(server, golden):
    server.routes = ["/v1/embeddings", "/v1/models"]
    assert least(golden, ask(server.url, golden)).agrees
    assert server.requests[-1][0] == "/v1/embeddings"


def test_base64_gives_the_same_vectors(server, golden):
    plain = ask(f"{server.url}/v1", golden)
    server.base64 = True
    assert (ask(f"{server.url}/v1", golden).vectors == plain.vectors).all()


def test_tei_gets_the_name_of_a_prompt_and_openai_the_prompt(server, golden):
    ask(server.url, golden)
    tei = [content for path, content in server.requests if path == "/embed"]
    assert {content.get("prompt_name") for content in tei} == {"query", None}
    assert all(not text.startswith("search: ") for content in tei for text in content["inputs"])
    ask(f"{server.url}/v1", golden)
    openai = [content for path, content in server.requests if path == "/v1/embeddings"]
    sent = [text for content in openai for text in content["input"]]
    assert sum(text.startswith("search: ") for text in sent) == list(golden.roles).count("query")


@pytest.mark.parametrize(("fragment", "model"), [("", "served"), ("#mine", "mine")])
def test_the_model_is_the_one_of_the_address_or_the_first_served(server, golden, fragment, model):
    ask(f"{server.url}/v1{fragment}", golden)
    assert {content["model"] for path, content in server.requests if content} == {model}


def test_a_server_without_a_list_of_models_gets_the_name_of_the_folder(server, golden):
    server.routes = ["/v1/embeddings"]
    ask(f"{server.url}/v1", golden)
    assert server.requests[-1][1]["model"] == golden.folder.name


def test_the_key_is_sent_as_a_bearer_token(server, golden):
    ask(server.url, golden, key="secret")
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}
    server.headers.clear()
    ask(server.url, golden)
    assert all("Authorization" not in headers for headers in server.headers)


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_server_without_the_prompts_disagrees(server, golden, path):
    server.prompts = {"query": ""}
    without = replace(golden, prompts={"query": "", "document": ""})
    found = least(golden, ask(server.url + path, golden if not path else without))
    assert not found.agrees


def test_a_server_in_half_precision_agrees(server, golden, encode):
    server.encode = lambda texts: half(encode(texts))
    assert least(golden, ask(server.url, golden)).agrees


def test_a_server_that_refuses_the_longest_text_is_compared_on_the_others(server, golden):
    server.status = lambda content: 422 if any(len(text) > 5_000 for text in content["input"]) else 200
    answer = ask(f"{server.url}/v1", golden)
    assert len(answer.rows) == len(golden.texts) - 1
    assert "does not truncate" in answer.note
    assert least(golden, answer).agrees


@pytest.mark.parametrize("status", [302, 401, 404, 429, 500])
def test_another_status_is_an_error_with_the_answer_in_it(server, golden, status):
    server.status, server.change = lambda content: status, lambda body: b"no \x1b[31mway"
    with pytest.raises(InputError, match=rf"status {status} \('no  \[31mway'\)"):
        ask(server.url, golden)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [row[:-1] for row in rows],
        lambda rows: [[float("nan")] * len(row) for row in rows],
        lambda rows: {"error": "no"},
        lambda rows: [[0.0] * len(row) for row in rows],
    ],
)
def test_wrong_vectors_are_errors(server, golden, change):
    server.change = lambda body: json.dumps(change(json.loads(body))).encode()
    with pytest.raises(InputError):
        ask(server.url, golden)


def test_swapped_vectors_disagree(server, golden):
    server.change = lambda body: json.dumps(json.loads(body)[::-1]).encode()
    found = least(golden, ask(server.url, golden))
    assert not found.agrees
    assert numpy.isfinite(found.least_cosine)
