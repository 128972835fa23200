"""HTTP with hard limits: a deadline for the whole exchange, a largest answer, no redirects.

A server's answer is data from a stranger. `http.client` alone limits each read, not their sum, so a server that sends
one byte a second would never end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from ssl import SSLCertVerificationError
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from leafkit.errors import InputError, OptionError
from leafkit.version import __version__

MAX_BYTES = 16 << 20  # five times the golden vectors of 8,192 numbers, written as decimals
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class UnreachableError(InputError):
    """No answer came from a server: it cannot be reached, is too slow, or hung up."""


class Reply(NamedTuple):
    """The answer of a server. The names of ``headers`` are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Address:
    """The address of a server. ``base`` is the path before the routes, and ``model`` the name after #, or empty."""

    secure: bool
    host: str
    port: int | None
    base: str
    model: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``url``; raises `OptionError` unless it is an http or https address without a password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # whose message may hold a part of a password
            raise OptionError(f"{_without_secrets(url)} is no address of a server. Write http://HOST:PORT.") from None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query:
            raise OptionError(
                f"{_without_secrets(url)} is no address of a server. Write http://HOST:PORT or https://HOST:PORT, "
                "without a name, password or query."
            )
        return cls(
            secure=parts.scheme == "https", host=host, port=port, base=parts.path.rstrip("/"), model=parts.fragment
        )

    def at(self, path: str) -> Address:
        """Return the address of ``path`` below this one."""
        return replace(self, base=self.base + path)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' * self.secure}://{host}{f':{self.port}' if self.port else ''}{self.base}"


@dataclass(frozen=True, kw_only=True)
class Client:
    """Sends requests that take at most ``timeout`` seconds each, through the proxy that the environment names.

    ``key`` is sent in ``key_header`` unless it is empty: as a bearer token in Authorization, as it is in any other.
    ``open_sockets`` are those of requests on their way, which `hang_up` ends.
    """

    timeout: float
    key: str = field(default="", repr=False)
    key_header: str = "Authorization"
    open_sockets: set[socket.socket] = field(default_factory=set, repr=False)

    def hang_up(self) -> None:
        """End the requests on their way, in whichever thread: each raises `UnreachableError`."""
        for sock in list(self.open_sockets):
            _shut(sock)

    def get(self, address: Address) -> Reply:
        """Return the answer to a GET request; raises as `post`."""
        return self._request("GET", address, None, MAX_BYTES)

    def post(self, address: Address, content: dict[str, Any], *, most_bytes: int | None = None) -> Reply:
        """Send ``content`` as JSON and return the answer, of at most ``most_bytes`` (None: 16 MiB).

        Raises `UnreachableError` if no answer comes, and `InputError` for a longer one, for a certificate that is not
        trusted and for an address that no request can name.
        """
        return self._request("POST", address, json.dumps(content).encode(), most_bytes or MAX_BYTES)

    def _request(self, method: str, address: Address, body: bytes | None, most_bytes: int) -> Reply:
        deadline = _Deadline(self.timeout)
        connection, target, added = _connection(address, self.timeout)
        try:
            connection.connect()
            with deadline.of(connection.sock), self._open(connection.sock):
                connection.request(method, target, body=body, headers={**self._headers(body), **added})
                response = connection.getresponse()
                content = response.read(most_bytes + 1)
        except (SSLCertVerificationError, InvalidURL, UnicodeError) as error:  # the next try would fail as well
            raise InputError(f"{address} cannot be asked: {error}.") from error
        except (OSError, HTTPException, ValueError) as error:
            if deadline.passed or isinstance(error, TimeoutError):
                raise UnreachableError(f"{address} did not answer within {self.timeout:g} seconds.") from error
            raise UnreachableError(f"{address} cannot be asked: {error or type(error).__name__}.") from error
        finally:
            connection.close()
        if deadline.passed:
            raise UnreachableError(f"{address} did not answer within {self.timeout:g} seconds.")
        if len(content) > most_bytes:
            raise InputError(
                f"{address} answers with more than {most_bytes >> 20} MiB, which is no answer for a few texts."
            )
        headers = {name.lower(): value for name, value in response.getheaders()}
        # With a length, http.client gives a body that ends too early without an error.
        if len(content) < _whole_number(headers.get("content-length")):
            raise UnreachableError(f"{address} cannot be asked: the connection was cut in the answer.")
        return Reply(response.status, content, headers)

    @contextlib.contextmanager
    def _open(self, sock: socket.socket) -> Iterator[None]:
        self.open_sockets.add(sock)
        try:
            yield
        finally:
            self.open_sockets.discard(sock)

    def _headers(self, body: bytes | None) -> dict[str, str]:
        bearer = "Bearer " if self.key_header == "Authorization" else ""
        key = {self.key_header: f"{bearer}{self.key}"} if self.key else {}
        kind = {"Content-Type": "application/json"} if body is not None else {}
        return {"Accept": "application/json", "User-Agent": f"leafkit/{__version__}", **kind, **key}


def _connection(address: Address, timeout: float) -> tuple[HTTPConnection, str, dict[str, str]]:
    """Return a connection that is not open yet, what to ask it for, and the headers that a proxy needs."""
    kind = HTTPSConnection if address.secure else HTTPConnection
    proxy = _proxy(address)
    if proxy is None:
        return kind(address.host, address.port, timeout=timeout), address.base or "/", {}
    credentials = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}".encode()
    added = {"Proxy-Authorization": f"Basic {base64.b64encode(credentials).decode()}"} if proxy.username else {}
    connection = kind(proxy.hostname or "", proxy.port, timeout=timeout)
    if not address.secure:
        return connection, str(address), added
    connection.set_tunnel(address.host, address.port or 443, headers=added)
    return connection, address.base or "/", {}


def _proxy(address: Address) -> SplitResult | None:
    """Return the proxy of HTTP_PROXY or HTTPS_PROXY for ``address``; None for this machine and hosts of NO_PROXY."""
    url = getproxies().get("https" if address.secure else "http")
    if not url or address.host in LOOPBACK or proxy_bypass(address.host):
        return None
    problem = "the proxy of the environment (HTTP_PROXY, HTTPS_PROXY) is no address http://HOST:PORT."
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        usable = parts.scheme == "http" and bool(parts.hostname) and (parts.port or 80) > 0
    except ValueError as error:
        raise OptionError(problem) from error
    if not usable:
        raise OptionError(problem)
    return parts


def _without_secrets(url: str) -> str:
    """Return ``url`` for a message, without a password and without a query, either of which may hold a key."""
    return re.sub(r"\?[^#]*", "?...", re.sub(r"(?s)//.*@", "//...@", url))


def _whole_number(text: str | None) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,15}", text) else 0


class _Deadline:
    """Shuts a socket down after ``seconds``, which ends any read from it."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._seconds = seconds

    @contextlib.contextmanager
    def of(self, sock: socket.socket) -> Iterator[None]:
        """Shut ``sock`` down unless the block ends in time."""
        timer = threading.Timer(self._seconds, self._shut, [sock])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _shut(self, sock: socket.socket) -> None:
        self.passed = True
        _shut(sock)


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RDWR)
