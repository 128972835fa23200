"""What every request meets: keys, limits on bodies, other origins, health, metrics, and errors of the server."""

import re

import pytest

from leafkit.errors import OptionError
from leafkit.serve import app
from leafkit.serve.indexes import Opened
from leafkit.serve.keys import read_keys
from leafkit.serve.options import ServeOptions
from tests.serve.conftest import client_of, message


def test_a_body_beyond_the_limit_is_refused_announced_or_not(client):
    body = b'{"query": "' + b"a" * 60_000 + b'"}'
    assert "larger than 0.05 MiB" in message(client.post("/search", content=body), 413)
    parts = (body[start : start + 1000] for start in range(0, len(body), 1000))
    assert "larger than 0.05 MiB" in message(client.post("/search", content=parts), 413)
    early = client.post("/search", content=b"{}", headers={"content-length": "99999999999"})
    assert "larger than 0.05 MiB" in message(early, 413)


def test_unknown_paths_and_methods_are_answered_in_json(client):
    assert "there is no /serach. Endpoints: /search," in message(client.post("/serach"), 404)
    assert "/search does not take GET requests. Send POST." in message(client.get("/search"), 405)
    assert client.get("/search").headers["allow"] == "POST"
    assert re.search(r'leafkit_requests_total{endpoint="other",status="405"} [2-9]', client.get("/metrics").text)


@pytest.mark.parametrize("source", ["file", "variable"])
def test_only_the_holder_of_a_key_may_ask(vectors_index, tmp_path, monkeypatch, caplog, source):
    keys = ["sk-first", "sk-second-schlüssel"]
    if source == "file":
        (tmp_path / "keys.txt").write_text("\n".join([*keys, ""]), encoding="utf-8")
        options = {"api_key_file": tmp_path / "keys.txt"}
    else:
        monkeypatch.setenv("LEAFKIT_API_KEY", " ".join(keys))
        options = {}
    with client_of(vectors_index, **options) as client:
        for key in keys:
            for headers in ({"Authorization": f"Bearer {key}".encode()}, {"X-API-Key": key.encode()}):
                assert client.get("/info", headers=headers).status_code == 200
        for headers in ({}, {"Authorization": "Bearer sk-firs"}, {"Authorization": "sk-first"}, {"X-API-Key": ""}):
            for answer in (client.get("/info", headers=headers), client.get("/metrics", headers=headers)):
                assert "the API key is missing or wrong" in message(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
        assert client.get("/health").status_code == 200, "a load balancer has no key"
    assert "sk-" not in caplog.text


def test_a_file_without_a_key_is_refused(tmp_path):
    (tmp_path / "keys.txt").write_text("\n \n")
    with pytest.raises(OptionError, match="holds no API key"):
        read_keys(tmp_path / "keys.txt")
    with pytest.raises(OptionError, match="cannot be read"):
        read_keys(tmp_path / "absent.txt")


def test_a_web_page_may_ask_if_its_origin_is_named(vectors_index, client):
    ask = {"origin": "https://example.org", "access-control-request-method": "POST"}
    headers = {**ask, "access-control-request-headers": "authorization,content-type"}
    with client_of(vectors_index, cors=["https://example.org"]) as open_to_one:
        answer = open_to_one.options("/search", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        wrong = open_to_one.get("/info", headers={"origin": "https://example.com"})
        assert "access-control-allow-origin" not in wrong.headers
    assert "access-control-allow-origin" not in client.get("/info", headers=ask).headers


def test_health_encodes_a_golden_text(client, monkeypatch):
    assert client.get("/health").json() == {"status": "ok", "indexes": {"docs": "ok"}}
    monkeypatch.setattr(Opened, "is_healthy", lambda self: False)
    assert "another vector in docs" in message(client.get("/health"), 503)


def test_an_error_of_the_server_is_logged_and_its_text_is_not_sent(client, monkeypatch, caplog):
    def fail(self):
        raise KeyError("secret")

    monkeypatch.setattr(Opened, "is_healthy", fail)
    assert message(client.get("/health"), 500) == "the server failed on this request; its log says why."
    assert "secret" in caplog.text


def test_metrics_count_every_request_and_their_histogram_is_cumulative(client):
    def count(text, line):
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, flags=re.MULTILINE)
        return float(found[1]) if found else 0.0

    good, bad = (f'leafkit_requests_total{{endpoint="/embed",status="{status}"}}' for status in (200, 422))
    before = client.get("/metrics").text
    client.post("/embed", json={"inputs": ["a", "b"]})
    client.post("/embed", json={"inputs": 3})
    answer = client.get("/metrics")
    after = answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert count(after, good) == count(before, good) + 1
    assert count(after, bad) == count(before, bad) + 1
    assert count(after, "leafkit_texts_total") == count(before, "leafkit_texts_total") + 2
    assert count(after, "leafkit_queue_texts") == 0
    assert count(after, 'leafkit_index_documents{index="docs"}') == 60
    buckets = re.findall(r'seconds_bucket\{endpoint="/embed",le="(\S+)"\} (\d+)', after)
    counts = [int(number) for _, number in buckets]
    assert counts == sorted(counts)
    assert buckets[-1] == ("+Inf", re.search(r'seconds_count\{endpoint="/embed"\} (\d+)', after)[1])
    for line in after.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) leafkit_\w+ .+|leafkit_\w+(\{(\w+=\"[^\"]*\",?)+\})? [\d.e+-]+", line), line


def test_info_says_what_is_served_and_what_a_request_may_hold(client, searcher):
    info = client.get("/info").json()
    docs = info["indexes"]["docs"]
    assert (docs["documents"], docs["space"], docs["dim"]) == (60, searcher.space.id, 384)
    assert docs["encoder"] == {"dim": 384, "precision": searcher.encoder.precision}
    assert info["limits"]["max_k"] == 50
    assert {"query", "vector", "k", "allow"} <= set(info["search_fields"])


def test_a_queue_that_no_request_fits_into_is_refused():
    with pytest.raises(OptionError, match="queue is 4, so a request of max_texts = 8 would never fit"):
        ServeOptions(queue=4, max_texts=8)
    with pytest.raises(OptionError, match="app has no option 'max_kk'; did you mean 'max_k'"):
        app("absent.index", max_kk=3)
