"""What every request passes on its way to an endpoint: its key, the limits on its body, and the counters."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from leafkit.errors import InputError, LeafkitError
from leafkit.serve.keys import Keys
from leafkit.serve.metrics import Metrics
from leafkit.serve.options import ServeOptions
from leafkit.serve.replies import Receive, Reply, RequestError, Scope, Send

# Bodies that are being read may together hold this many times the largest body.
BODIES = 16
# What is read and thrown away of a body that is too large: a client that sends on would not see the answer.
DISCARDED = 1 << 28
# Seconds in which a body must arrive.
BODY_SECONDS = 30.0
# The status under which a client that went away is counted; nothing is sent.
GONE = 499
Result = TypeVar("Result")
Handler = Callable[[bytes], Awaitable[Reply]]

log = logging.getLogger("leafkit")


class ClientGoneError(Exception):
    """The client closed the connection before it got its answer."""


class Gate:
    """What every request passes: its key, the limits on its body, its error as JSON, and its place in the counters."""

    def __init__(self, limits: ServeOptions, keys: Keys, counters: Metrics) -> None:
        self._limits = limits
        self._keys = keys
        self._metrics = counters
        self._bytes = 0  # of all bodies that are being read or in work

    async def serve(self, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to ``endpoint`` and count it."""
        begun = time.perf_counter()
        self._metrics.in_progress += 1
        status = 500
        try:
            reply = await self._answer(endpoint, scope, receive)
            status = reply.status
            await reply(scope, receive, send)
        except (ClientGoneError, asyncio.CancelledError) as error:
            status = GONE
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._metrics.in_progress -= 1
            self._metrics.count(endpoint.path, status, time.perf_counter() - begun)

    async def _answer(self, endpoint: Endpoint, scope: Scope, receive: Receive) -> Reply:
        """Return the answer to a request; every error but a client that went away becomes an answer."""
        try:
            if endpoint.path != "/health" and not self._keys.accept(scope["headers"]):
                message = "the API key is missing or wrong. Send the header Authorization: Bearer KEY."
                raise RequestError(401, message, {"www-authenticate": "Bearer"})
            body = b"" if endpoint.method == "GET" else await self._body(scope, receive)
            self._bytes += len(body)
            try:
                return await until_gone(endpoint.handler(body), receive)
            finally:
                self._bytes -= len(body)
        except RequestError as error:
            return error.reply()
        except InputError as error:
            return RequestError(422, str(error)).reply()
        except ClientGoneError:
            raise
        except LeafkitError as error:  # not of the request: a damaged file, or a teacher that cannot be opened
            log.error("a request to %s failed: %s", endpoint.path, error)
            return RequestError(503, "what this request needs cannot be opened; the server's log says why.").reply()
        except Exception:
            log.exception("a request to %s failed", endpoint.path)
            return RequestError(500, "the server failed on this request; its log says why.").reply()

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Read the body of a request, of at most `ServeOptions.max_bytes`."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        announced = int(length) if length.isdigit() else 0
        self._require_room(announced if announced <= self._limits.max_bytes else 0)
        waits = headers.get(b"expect", b"").lower() == b"100-continue"  # such a client has not sent its body yet
        if announced > self._limits.max_bytes and (waits or announced > DISCARDED):
            raise self._too_large()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(receive)
        except TimeoutError as error:
            raise RequestError(408, f"the body did not arrive within {BODY_SECONDS:g} s. Send it faster.") from error

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                part = message.get("body", b"")
                size += len(part)
                if size <= self._limits.max_bytes:
                    self._require_room(len(part))
                    parts.append(part)
                    self._bytes += len(part)
                if size > DISCARDED or (size > self._limits.max_bytes and not message.get("more_body")):
                    raise self._too_large()
                if not message.get("more_body"):
                    return b"".join(parts)
        finally:
            self._bytes -= sum(map(len, parts))

    def _require_room(self, more: int) -> None:
        if self._bytes + more > BODIES * self._limits.max_bytes:
            raise RequestError(429, "the server is reading too much already. Repeat the request.", {"retry-after": "1"})

    def _too_large(self) -> RequestError:
        return RequestError(
            413,
            f"the body is larger than {self._limits.max_body:g} MiB. Send fewer or shorter texts, or start the server "
            "with a larger --max-body.",
            {"connection": "close"},
        )


@dataclass(frozen=True)
class Endpoint:
    """The ASGI app of one path: ``handler`` gets the body of a request that passed the ``gate``."""

    gate: Gate
    path: str
    method: str
    handler: Handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self.gate.serve(self, scope, receive, send)


async def until_gone(work: Awaitable[Result], receive: Receive) -> Result:
    """Return the result of ``work``, whose request is read to its end; raise `ClientGoneError` if its client goes away.

    What is queued for a client that went away is taken out of the queue.
    """
    working = asyncio.ensure_future(work)
    listening = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, listening}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        listening.cancel()
        working.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
