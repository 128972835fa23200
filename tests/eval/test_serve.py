"""The clients that load a server: what they count, and when a latency begins."""

import asyncio
import contextlib
import threading
import time

import pytest

from eval.serve import soak
from eval.serve.compare import read_queries, table
from eval.serve.load import ask_closed, ask_open, bodies


@contextlib.contextmanager
def server(answer):
    """Run a server in a thread; ``answer(body)`` gives a status, or None to cut the connection."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), []

    async def talk(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                status = answer(await reader.readexactly(length))
                if status is None:
                    break
                writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: 2\r\n\r\nok" % status)
        writer.close()

    async def listen():
        listening = await asyncio.start_server(talk, "127.0.0.1", 0)
        ports.append(listening.sockets[0].getsockname()[1])
        ready.set()

    loop.create_task(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert ready.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_closed_clients_count_every_answer_and_every_cut_connection():
    asked = []

    def answer(body):
        asked.append(body)
        return {0: 200, 1: 429, 2: None}[len(asked) % 3]

    with server(answer) as port:
        found = ask_closed(port, bodies(["a", "b"], 3), clients=2, seconds=0.3)
    assert set(asked) == {b'{"query": "a", "k": 3}', b'{"query": "b", "k": 3}'}
    assert sum(found.statuses.values()) == len(asked)
    assert found.failures == found.statuses[429] + found.statuses[0] > 0
    assert len(found.latencies) == found.statuses[200] == pytest.approx(found.rate * found.seconds)


def test_an_open_load_counts_the_time_that_a_request_waits_for_its_turn():
    def answer(body):
        time.sleep(0.05)  # the server of one thread is busy: 20 requests per second at most
        return 200

    with server(answer) as port:
        found = ask_open(port, bodies(["a"], 1), rate=40, clients=2, seconds=0.5)
    assert sum(found.statuses.values()) == 20
    assert found.seconds > 0.95
    assert max(found.latencies) > 0.4, "the last one is due at 0.475 s and answered after 1 s"


def test_a_load_keeps_its_rate():
    with server(lambda body: 200) as port:
        found = ask_open(port, bodies(["a"], 1), rate=50, clients=5, seconds=0.4)
    assert sum(found.statuses.values()) == 20


def test_what_fails_in_the_background_of_a_soak_is_raised():
    def fail():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"), soak._every(0.001, fail):
        time.sleep(0.05)


def test_queries_come_from_the_quickstart_or_a_file(tmp_path):
    assert len(read_queries(None)) > 500
    (tmp_path / "queries.txt").write_text("one\n\ntwo \n")
    assert read_queries(tmp_path / "queries.txt") == ["one", "two"]


def test_the_table_says_what_was_left_out():
    text = table({"rows": [{"app": "naive", "clients": 1}], "left out": {"fastembed": "it is not installed"}})
    assert text.splitlines() == [
        "| app | clients |",
        "| --- | ---: |",
        "| naive | 1 |",
        "fastembed is left out: it is not installed.",
    ]
