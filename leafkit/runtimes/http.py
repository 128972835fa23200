"""HTTP with hard limits: a deadline for the whole exchange, a largest answer, no redirects.

A server's answer is data from a stranger. `http.client` alone limits each read, not their sum, so a server that sends
one byte a second would never end.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from leafkit.errors import InputError, OptionError
from leafkit.version import __version__

MAX_BYTES = 16 << 20  # five times the golden vectors of 8,192 numbers, written as decimals


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
        except ValueError as error:
            raise OptionError(f"{url} is no address: {error}. Write http://HOST:PORT.") from error
        if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query:
            raise OptionError(f"{url} is no address of a server. Write http://HOST:PORT or https://HOST:PORT.")
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
    """Sends requests that take at most ``timeout`` seconds each, with ``key`` as bearer token unless it is empty."""

    timeout: float
    key: str = ""

    def get(self, address: Address) -> tuple[int, bytes]:
        """Return status and body of a GET request; raises `InputError` if no answer comes."""
        return self._request("GET", address, None)

    def post(self, address: Address, content: dict[str, Any]) -> tuple[int, bytes]:
        """Send ``content`` as JSON and return status and body; raises `InputError` if no answer comes."""
        return self._request("POST", address, json.dumps(content).encode())

    def _request(self, method: str, address: Address, body: bytes | None) -> tuple[int, bytes]:
        kind = HTTPSConnection if address.secure else HTTPConnection
        connection = kind(address.host, address.port, timeout=self.timeout)
        deadline = _Deadline(self.timeout)
        try:
            connection.connect()
            with deadline.of(connection.sock):
                connection.request(method, address.base or "/", body=body, headers=self._headers(body))
                response = connection.getresponse()
                content = response.read(MAX_BYTES + 1)
        except (OSError, HTTPException, ValueError) as error:
            if deadline.passed or isinstance(error, TimeoutError):
                raise InputError(f"{address} did not answer within {self.timeout:g} seconds.") from error
            raise InputError(f"{address} cannot be asked: {error or type(error).__name__}.") from error
        finally:
            connection.close()
        if deadline.passed:
            raise InputError(f"{address} did not answer within {self.timeout:g} seconds.")
        if len(content) > MAX_BYTES:
            raise InputError(
                f"{address} answers with more than {MAX_BYTES >> 20} MiB, which is no answer for a few texts."
            )
        return response.status, content

    def _headers(self, body: bytes | None) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        kind = {"Content-Type": "application/json"} if body is not None else {}
        return {"Accept": "application/json", "User-Agent": f"leafkit/{__version__}", **kind, **key}


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
        with contextlib.suppress(OSError):  # closed already
            sock.shutdown(socket.SHUT_RDWR)
