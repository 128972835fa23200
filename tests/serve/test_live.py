"""`leafkit serve` as a process: what users type, and what happens when clients or operators misbehave."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.request import urlopen

import numpy
import pytest

from tests.fixtures.blocks import ROOT, blocks

pytest.importorskip("uvicorn", reason="the extra serve is not installed")
from starlette.testclient import TestClient

from leafkit.serve import app

pytestmark = pytest.mark.slow


@contextmanager
def process(*arguments):
    """Run ``leafkit serve`` on a free port; gives the port and the process, whose stderr holds its log."""
    command = [sys.executable, "-m", "leafkit.cli", "serve", *map(str, arguments), "--port", "0"]
    running = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        lines = iter(running.stderr.readline, "")
        port = next(int(found[1]) for line in lines if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port, running
    finally:
        if running.poll() is None:
            running.kill()
        running.wait()
        running.stderr.close()


@pytest.fixture(scope="module")
def port(index):
    with process(index, "--max-k", 50) as (port, running):
        yield port
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) in (0, -signal.SIGTERM)


def post(port, path, content):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, json.dumps(content))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body)


def get(port, path):
    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return answer.read().decode()


def test_the_python_of_the_page_runs(port, capsys):
    (block,) = [one for one in blocks([ROOT / "docs" / "serve.md"]) if "urlopen" in one.code]
    exec(compile(block.code.replace("localhost:8000", f"127.0.0.1:{port}"), "serve.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_curl_of_the_page_runs(port):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    lines = [line[2:] for one in blocks([ROOT / "docs" / "serve.md"]) for line in one.code.splitlines()]
    # The others ask a second index, or one with several students.
    typed = [line for line in lines if line.startswith("curl") and not re.search('"faq"|"effort"', line)]
    assert len(typed) == 3
    for line in typed:
        done = subprocess.run(
            line.replace("localhost:8000", f"127.0.0.1:{port}").replace("curl", "curl -s --fail"),
            shell=True,
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)


def test_the_official_client_of_the_openai_api_reads_the_vectors(port, encoder):
    openai = pytest.importorskip("openai", reason="the package openai is not installed")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    texts = ["copy a file", "list ports"]
    for options in ({}, {"encoding_format": "float"}, {"dimensions": 384}):
        answer = client.embeddings.create(model="docs", input=texts, **options)
        found = numpy.array([one.embedding for one in answer.data], dtype=numpy.float32)
        assert numpy.array_equal(found, encoder.encode(texts, "query"))
        assert answer.usage.prompt_tokens > 10
    with pytest.raises(openai.UnprocessableEntityError, match="Documents belong to the teacher"):
        client.embeddings.create(model="docs", input="a", extra_body={"input_type": "document"})
    with pytest.raises(openai.NotFoundError, match="did you mean 'docs'"):
        client.embeddings.create(model="doc", input="a")


def test_a_body_of_100_megabytes_is_refused_with_a_message_and_memory_stays(port):
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(
            "POST",
            "/search",
            (bytes(1 << 20) for _ in range(100)),
            headers or {"Content-Length": str(100 << 20)},
            encode_chunked=bool(headers),
        )
        answer = connection.getresponse()
        assert (answer.status, "larger than 4 MiB" in answer.read().decode()) == (413, True)
        connection.close()
    assert post(port, "/search", {"query": "copy a file"})[0] == 200


def test_garbage_instead_of_http_and_clients_that_leave_do_no_harm(port):
    for sent in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /" + b"a" * 200_000,
        b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\n" + b'{"query": "copy a file", "k":3}',
    ):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(sent)
    assert post(port, "/search", {"query": "copy a file"})[0] == 200
    metrics = get(port, "/metrics")
    assert "leafkit_queue_texts 0" in metrics
    assert "leafkit_requests_in_progress 1\n" in metrics, "only the request for the metrics itself"


def test_thousands_of_open_connections_do_not_shut_out_a_request(port):
    connections = []
    try:
        for _ in range(800):  # this process may open no more than 1,024 files
            connections.append(socket.create_connection(("127.0.0.1", port)))
            connections[-1].sendall(b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert post(port, "/search", {"query": "copy a file"})[0] == 200
    finally:
        for connection in connections:
            connection.close()


def test_a_busy_server_refuses_at_once_and_recovers(index):
    content = {"query": [f"text number {number} " * 15 for number in range(8)], "k": 50}
    found = []
    with process(index, "--workers", 1, "--queue", 8, "--max-texts", 8) as (port, _):

        def ask(number):
            texts = [f"{number} {text}" for text in content["query"]]
            found.append(post(port, "/search", {**content, "query": texts}))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {status for status, _ in found} == {200, 429}
        assert all("Repeat the request in" in body["error"]["message"] for status, body in found if status == 429)
        assert post(port, "/search", {"query": "copy a file"})[0] == 200


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_in_progress(index, sent):
    found = []
    with process(index, "--workers", 1) as (port, running):
        content = {"query": [f"{number} " + "text " * 100 for number in range(20)], "k": 5}
        asking = threading.Thread(target=lambda: found.append(post(port, "/search", content)))
        asking.start()
        while asking.is_alive() and "leafkit_queue_texts 0\n" in get(port, "/metrics"):
            time.sleep(0.01)
        running.send_signal(sent)
        asking.join(60)
        assert running.wait(60) in (-signal.SIGTERM, 130)
        assert "Traceback" not in running.stderr.read()
    ((status, body),) = found
    assert (status, len(body["results"])) == (200, 20)


def test_an_address_in_use_is_one_message(index):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "leafkit.cli", "serve", str(index), "--port", port]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(rf"leafkit: cannot listen on 127\.0\.0\.1, port {port}: .*\n", done.stderr)


def test_the_environment_names_the_indexes_of_another_asgi_server(index, monkeypatch):
    monkeypatch.setenv("LEAFKIT_INDEXES", f"one={index}")
    with TestClient(app()) as client:
        assert list(client.get("/info").json()["indexes"]) == ["one"]
