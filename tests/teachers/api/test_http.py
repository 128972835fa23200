import contextlib
import socket
import threading
import time

import pytest

from leafkit.errors import InputError, OptionError
from leafkit.teachers.api import http
from leafkit.teachers.api.http import Address, Client


@pytest.fixture
def talk():
    """Serve one connection with a function of the socket; gives the address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def start(serve):
        def run():
            with listening.accept()[0] as connection:
                connection.recv(65536)
                with contextlib.suppress(OSError):  # the client has hung up
                    serve(connection)

        threading.Thread(target=run, daemon=True).start()
        return Address.parse(f"http://127.0.0.1:{listening.getsockname()[1]}")

    yield start
    listening.close()


@pytest.mark.parametrize("url", ["http://[::1]:8080/v1", "https://example.org", "http://localhost:80/embed"])
def test_an_address_reads_back_as_written(url):
    assert str(Address.parse(url)) == url


def test_the_model_is_named_after_the_hash():
    address = Address.parse("http://host:1/v1/#my/model")
    assert (address.model, str(address)) == ("my/model", "http://host:1/v1")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8080",
        "file:///etc/passwd",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://host:x",
        "http://h?a=1",
    ],
)
def test_anything_else_is_no_address(url):
    with pytest.raises(OptionError, match="is no address"):
        Address.parse(url)


@pytest.mark.parametrize(
    "url", ["http://me:secret/x@host", "http://me:secret#x@host/v1", "http://me:secret?x@host", "http://h?key=secret#m"]
)
def test_the_message_for_an_address_shows_no_password_and_no_query(url):
    with pytest.raises(OptionError, match="is no address") as raised:
        Address.parse(url)
    assert "secret" not in str(raised.value)


def drip(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def drip_headers(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


@pytest.mark.parametrize("serve", [lambda connection: time.sleep(2), drip, drip_headers])
def test_a_server_that_never_ends_is_left_at_the_deadline(talk, serve):
    started = time.monotonic()
    with pytest.raises(InputError, match=r"did not answer within 0\.2 seconds"):
        Client(timeout=0.2).get(talk(serve))
    assert time.monotonic() - started < 1.5


def test_an_endless_answer_is_refused(talk, monkeypatch):
    monkeypatch.setattr(http, "MAX_BYTES", 1 << 20)

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    with pytest.raises(InputError, match="more than 1 MiB"):
        Client(timeout=10).get(talk(flood))


CUT = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"


@pytest.mark.parametrize("sent", [b"", b"\xff\x00\r\n\r\n", CUT])
def test_a_broken_answer_is_an_input_error(talk, sent):
    with pytest.raises(InputError, match="cannot be asked"):
        Client(timeout=5).get(talk(lambda connection: connection.sendall(sent)))


def test_a_redirect_is_not_followed(talk):
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    assert Client(timeout=5).get(talk(lambda connection: connection.sendall(moved)))[0] == 302


def test_a_closed_port_is_an_input_error():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(InputError, match=r"cannot be asked.*refused"):
        Client(timeout=5).get(Address.parse(f"http://127.0.0.1:{port}"))
