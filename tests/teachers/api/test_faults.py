"""A server with faults: texts are never lost, never sent twice when they were answered, and errors are one message."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections import Counter

import numpy
import pytest

from leafkit.errors import ApiError, BudgetError
from leafkit.teachers.api import client, http
from leafkit.teachers.api import teacher as teacher_module
from leafkit.teachers.open import open_teacher
from leafkit.vectors.cached import cached
from tests.fixtures.api_server import DIM, ApiServer, cut, drawn, hang_up, serving, status

TEXTS = [f"text {number} of the tests" for number in range(40)]
EXPECTED = numpy.stack([drawn(text) for text in TEXTS])


def html(handler, body):
    handler.reply(200, b"<html>we are down</html>", {"Content-Type": "text/html"})
    return True


def slow(handler, body):
    handler.reply(200, b"", {"Content-Length": str(len(body))})
    for place in range(len(body)):
        handler.wfile.write(body[place : place + 1])
        time.sleep(0.05)
    return True


def endless(handler, body):
    handler.reply(200, b" " * (4 << 20), {})
    return True


def assert_all_arrive(teacher, server, tmp_path, **options):
    """Encode through a store, with requests of five texts, and check the vectors and that none was answered twice."""
    open_one = teacher(teacher_batch_size=5, dimensions=DIM, normalised=True, **options)
    found = cached(open_one, tmp_path, dtype="float32").encode(TEXTS, "document")
    assert numpy.allclose(found, EXPECTED, atol=1e-6)
    assert Counter(server.answered) == Counter(TEXTS)
    return open_one


@pytest.mark.parametrize(
    "fault",
    [
        status(429),
        status(429, retry_after="0.01"),
        status(429, retry_after_ms="10"),
        status(429, retry_after="Thu, 01 Jan 2026 00:00:00 GMT"),
        status(500),
        status(503, b"<html>"),
        cut,
        hang_up,
    ],
    ids=["429", "retry-after", "milliseconds", "date", "500", "503", "cut", "hung up"],
)
def test_a_passing_fault_costs_a_repetition_and_nothing_else(server, teacher, tmp_path, fault):
    server.faults.extend([fault, lambda *_: False, fault])
    assert_all_arrive(teacher, server, tmp_path)
    assert len(server.requests) == 8 + 2


def test_one_pause_is_shared_by_all_requests(server, teacher, tmp_path):
    """Each of four workers would meet the limit by itself; the pause keeps them from asking."""
    times = []

    def limited(handler, body):
        times.append(time.monotonic())
        return status(429, retry_after="0.2")(handler, body) if len(times) == 1 else False

    server.always = limited
    assert_all_arrive(teacher, server, tmp_path, concurrency=1)
    assert min(times[1:]) - times[0] >= 0.2
    assert len(times) == 8 + 1


def test_rate_limit_headers_of_a_good_answer_are_heeded(server, teacher, tmp_path):
    server.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30ms"}
    started = time.monotonic()
    assert_all_arrive(teacher, server, tmp_path, concurrency=1)
    assert time.monotonic() - started >= 7 * 0.03


def test_there_is_no_waiting_after_the_last_try(server, teacher):
    server.always = status(429, retry_after="3600")
    started = time.monotonic()
    with pytest.raises(ApiError, match=r"asks to wait 3,600 seconds\. Gave up after 1 try"):
        teacher(dimensions=DIM, normalised=True).encode(TEXTS, "document")
    assert time.monotonic() - started < 2


def test_patience_ends_a_server_that_stays_broken(server, teacher):
    server.always = status(500)
    with pytest.raises(ApiError, match=r"status 500 .*Gave up after \d+ tries \(patience 0\.1 seconds\)"):
        teacher(dimensions=DIM, normalised=True, patience=0.1).encode(TEXTS, "document")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(401, b"bad key"), r"status 401 \('bad key'\)\. Check the key in the environment variable LEAFKIT_API"),
        (status(403), "Check the key"),
        (status(404), "Check the model m and the address http"),
        (status(402), "no credit"),
        (status(429, b'{"error": {"code": "insufficient_quota"}}'), "no credit"),
        (status(302, location="http://127.0.0.1:9/"), "status 302"),
        (html, "something else than JSON"),
    ],
    ids=["401", "403", "404", "402", "quota", "redirect", "html"],
)
def test_a_lasting_fault_is_one_error_without_a_repetition(server, teacher, fault, message):
    server.always = fault
    with pytest.raises(ApiError, match=message):
        teacher(dimensions=DIM, normalised=True, concurrency=1).encode(TEXTS, "document")
    assert len(server.requests) == 1


def test_slow_bytes_end_at_the_timeout_and_are_repeated(server, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT", 0.3)
    server.faults.append(slow)
    assert_all_arrive(teacher, server, tmp_path)


def test_an_answer_far_larger_than_its_vectors_is_refused(server, teacher, monkeypatch):
    server.always = endless
    with pytest.raises(ApiError, match="more than 1 MiB"):
        teacher(dimensions=DIM, normalised=True).encode(TEXTS[:2], "document")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "expected each of 0 to 4 once"),
        (lambda rows: [{**row, "index": 0} for row in rows], "expected each of 0 to 4 once"),
        (lambda rows: [{**row, "embedding": row["embedding"][:-1]} for row in rows], "width 7; expected 8"),
        (lambda rows: [{**row, "embedding": [float("nan")] * DIM} for row in rows], "NaN or infinity"),
        (lambda rows: [{**row, "embedding": [0.0] * DIM} for row in rows], "all zeros"),
        (lambda rows: [{**row, "embedding": "AAAAgD8="} for row in rows], "not base64 of float32"),
        (lambda rows: [{**row, "embedding": None} for row in rows], "something else than numbers"),
    ],
    ids=["missing", "doubled", "width", "nan", "zeros", "short base64", "null"],
)
def test_vectors_that_cannot_be_used_are_refused_at_once(server, teacher, change, message):
    server.change = lambda content: {"data": change(content["data"])}
    with pytest.raises(ApiError, match=message):
        teacher(dimensions=DIM, normalised=True).encode(TEXTS[:5], "document")
    assert len(server.requests) == 1


def test_a_width_that_changes_half_way_keeps_what_came_before(server, teacher, tmp_path):
    server.change = lambda content: content if len(server.requests) <= 4 else {"data": short(content["data"])}

    def short(rows):
        return [{**row, "embedding": row["embedding"][:-1]} for row in rows]

    def fill():
        one = teacher(teacher_batch_size=5, dimensions=DIM, normalised=True, concurrency=1)
        return cached(one, tmp_path, dtype="float32").encode(TEXTS, "document")

    with pytest.raises(ApiError, match="width 7; expected 8"):
        fill()
    server.change = lambda content: content
    assert numpy.allclose(fill(), EXPECTED, atol=1e-6)
    # 20 texts before the change and the 5 whose answer was refused; then those 5 again and the other 15.
    assert Counter(server.sent) == Counter(TEXTS) + Counter(server.sent[20:25])


def test_a_request_that_is_too_large_is_sent_in_halves(server, teacher, tmp_path):
    server.always = lambda handler, body: (
        status(413)(handler, body) if len(server.requests[-1][1]["input"]) > 2 else False
    )
    assert_all_arrive(teacher, server, tmp_path, concurrency=1)


def test_a_text_that_is_refused_alone_costs_no_other(server, teacher, tmp_path):
    server.always = lambda handler, body: TEXTS[7] in server.requests[-1][1]["input"] and status(400)(handler, body)
    one = teacher(teacher_batch_size=10, dimensions=DIM, normalised=True, concurrency=1)
    with pytest.raises(ApiError, match="refuses the text 'text 7 of"):
        cached(one, tmp_path).encode(TEXTS, "document")
    assert len(cached(one, tmp_path).store) == len(server.answered) > 0


def test_a_refused_text_is_named(server, teacher):
    server.always = status(400, b"context length")
    with pytest.raises(ApiError, match=r"context length.*refuses the text 'text \d+ of the tests' \(\d+ characters\)"):
        teacher(dimensions=DIM, normalised=True).encode(TEXTS, "document")


def test_a_budget_ends_cleanly_says_what_is_left_and_the_next_command_goes_on(server, teacher, tmp_path):
    """Each text has 5 words, which the server counts as tokens."""

    def fill(budget):
        one = teacher(teacher_batch_size=5, dimensions=DIM, normalised=True, api_budget=budget, concurrency=1)
        return cached(one, tmp_path, dtype="float32").encode(TEXTS, "document")

    with pytest.raises(BudgetError, match=r"15 of 40 texts are done, and 25 are left \(about \d+ tok"):
        fill("90tokens")
    assert sorted(server.answered) == sorted(set(server.answered))
    with pytest.raises(BudgetError, match=r"0 of 25 texts are done"):
        fill("0-tokens")
    assert len(server.answered) == 15
    assert numpy.allclose(fill(None), EXPECTED, atol=1e-6)
    assert Counter(server.sent) == Counter(TEXTS)


def test_answers_on_their_way_are_kept_when_another_request_fails(server, teacher, tmp_path):
    arrived, refused = threading.Event(), threading.Event()

    def failing(handler, body):
        if arrived.is_set():
            refused.set()
            return status(401)(handler, body)
        arrived.set()
        refused.wait(timeout=5)
        time.sleep(0.05)  # the refusal is read meanwhile
        return False

    server.always = failing
    one = teacher(teacher_batch_size=20, dimensions=DIM, normalised=True, concurrency=2)
    with pytest.raises(ApiError, match="401"):
        cached(one, tmp_path).encode(TEXTS, "document")
    assert len(cached(one, tmp_path).store) == 20


def test_a_key_is_sent_and_shown_nowhere(server, teacher, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-secret-1")
    server.faults.append(status(500, b"your key is sk-secret-1"))
    one = assert_all_arrive(teacher, server, tmp_path)
    assert {headers["Authorization"] for _, _, headers in server.requests} == {"Bearer sk-secret-1"}
    server.always = status(401, b"wrong key: sk-secret-1")
    with pytest.raises(ApiError) as caught:
        one.encode(["another"], "document")
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    shown = f"{caught.value} {caplog.text} {one!r} {vars(one)!r} {one.space!r} {written!r}"
    assert "secret" not in shown
    assert "***" in shown


def test_a_key_in_an_answer_that_is_no_json_is_not_shown(server, teacher, monkeypatch):
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-secret-1")
    for body in (b"<html>you sent sk-secret-1", b'{"data": [{"index": "sk-secret-1", "embedding": []}]}'):
        server.always = status(200, body)
        with pytest.raises(ApiError, match=r"begins '.*\*\*\*") as caught:
            teacher(dimensions=DIM, normalised=True).encode(TEXTS[:1], "document")
        assert "secret" not in str(caught.value)


def test_a_limit_that_lasts_for_years_waits_no_longer_than_the_patience(server, teacher):
    server.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "999999999"}
    one = teacher(dimensions=DIM, normalised=True, patience=0.05, teacher_batch_size=20)
    assert len(one.encode(TEXTS, "document")) == len(TEXTS)


def test_giving_up_on_the_answers_ends_the_requests_that_wait(server, teacher):
    """As when the disk is full."""
    server.always = lambda handler, body: len(server.requests) > 1 and status(500, retry_after="5")(handler, body)
    started = time.monotonic()
    answers = teacher(dimensions=DIM, normalised=True, teacher_batch_size=5).encode_each(TEXTS, ["query"] * len(TEXTS))
    next(answers)
    answers.close()
    assert time.monotonic() - started < 2


def test_a_fault_of_one_batch_is_not_the_fault_of_another_server(server, teacher):
    """Two teachers share no pause."""
    server.faults.append(status(429, retry_after="3600"))
    with pytest.raises(ApiError):
        teacher(dimensions=DIM, normalised=True).encode(TEXTS[:1], "document")
    assert len(teacher(dimensions=DIM, normalised=True).encode(TEXTS[:1], "document")) == 1


def test_a_key_where_the_shown_beginning_of_an_answer_ends_is_not_shown_in_part(server, teacher, monkeypatch):
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-secret-1")
    server.always = status(200, b"x" * 190 + b"sk-secret-1")
    with pytest.raises(ApiError, match=r"something else than JSON\. The answer begins 'x+\*\*\*'") as raised:
        teacher(dimensions=DIM, normalised=True).encode(TEXTS[:1], "document")
    assert "sk-s" not in str(raised.value)


@pytest.mark.parametrize("path", ["/v\u00e9", "/a path"])
def test_an_address_that_no_request_can_name_is_an_error_at_once(teacher, path):
    with pytest.raises(ApiError, match="cannot be asked") as raised:
        teacher(path, patience=0.0, dimensions=DIM, normalised=True).encode(TEXTS[:1], "document")
    assert "Gave up" not in str(raised.value)


def test_a_certificate_that_is_not_trusted_is_an_error_at_once(monkeypatch):
    def connect(self):
        raise ssl.SSLCertVerificationError("self-signed certificate")

    monkeypatch.setattr(http.HTTPSConnection, "connect", connect)
    one = open_teacher("api:https://127.0.0.1:1/v1#m", patience=0.0, dimensions=DIM, normalised=True)
    with pytest.raises(ApiError, match=r"cannot be asked: .*self-signed certificate") as raised:
        one.encode(TEXTS[:1], "document")
    assert "Gave up" not in str(raised.value)


def test_a_key_that_goes_over_the_network_in_the_clear_is_a_warning(server, monkeypatch, caplog):
    monkeypatch.setenv("LEAFKIT_API_KEY", "sk-1")
    monkeypatch.setenv("http_proxy", server.url)
    one = open_teacher("api:http://models.example/v1#m", dimensions=DIM, normalised=True)
    one.encode(TEXTS[:1], "query")
    assert "the key in LEAFKIT_API_KEY goes to http://models.example/v1/embeddings unencrypted" in caplog.text


def test_a_proxy_of_the_environment_is_asked_instead(monkeypatch):
    with serving(ApiServer()) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pass%20word@{proxy.url.removeprefix('http://')}")
        address = http.Address.parse("http://models.example/v1/embeddings")
        reply = http.Client(timeout=5).post(address, {"input": ["text"]})
    assert json.loads(reply.body)["data"][0]["embedding"] == drawn("text").tolist()
    path, _, headers = proxy.requests[0]
    assert path == "http://models.example/v1/embeddings"
    assert headers["Proxy-Authorization"] == "Basic dXNlcjpwYXNzIHdvcmQ="


@pytest.mark.parametrize("presses", [1, 2])
def test_one_interrupt_keeps_what_is_on_its_way_and_a_second_does_not_wait_for_it(
    server, teacher, tmp_path, monkeypatch, caplog, presses
):
    caplog.set_level(logging.INFO, "leafkit")
    left, answering, waits = [KeyboardInterrupt] * presses, threading.Event(), teacher_module.wait
    server.always = lambda handler, body: answering.wait(20) and False

    def wait(pending, **options):
        while len(server.requests) < 2:
            time.sleep(0.005)
        if left:
            raise left.pop()
        answering.set()
        return waits(pending, **options)

    monkeypatch.setattr(teacher_module, "wait", wait)
    store = cached(teacher(teacher_batch_size=5, concurrency=2, dimensions=DIM, normalised=True), tmp_path)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        store.encode(TEXTS, "document")
    assert time.monotonic() - begun < 10
    answering.set()
    assert len(store.store) == (10 if presses == 1 else 0)
    assert "; again in" not in caplog.text
    assert len(server.requests) == 2
