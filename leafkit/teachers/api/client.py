"""Ask an API for vectors: one request with its repetitions, its limits and the checks of its answer."""

from __future__ import annotations

import http
import logging
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from leafkit.errors import ApiError, InputError
from leafkit.files.json_file import parse_json
from leafkit.teachers.api.address import PREFIX, Endpoint
from leafkit.teachers.api.answers import excerpt, listed_vectors, openai_vectors, value_at
from leafkit.teachers.api.http import Client, Reply, UnreachableError
from leafkit.teachers.api.limits import Cooldown, HaltedError, pause_before, retry_after
from leafkit.types import Float32, Role

log = logging.getLogger("leafkit")

TIMEOUT = 120.0  # seconds for one answer
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0  # between repetitions, if the server does not say how long to wait
BUSY = (429, 503, 529)  # a limit of the whole model, so that all workers wait
REPEATED = (408, 409, 425, 500, 502, 504, *BUSY)
TOO_LARGE = (400, 413, 422)  # a request that may succeed in parts
EXHAUSTED = (b"insufficient_quota", b"billing_hard_limit", b"credit balance")  # no waiting helps
# Bytes of an answer: a number takes up to 25 characters, and each vector some more.
NUMBER_BYTES, ANSWER_BYTES = 32, 1 << 20


class TooLargeError(ApiError):
    """An API refuses a request that may be too large, or one of whose texts may be."""


@dataclass(frozen=True, kw_only=True)
class ApiClient:
    """Asks ``endpoint`` for vectors, from several threads at once.

    dimensions: the width to ask for, None for the model's own.
    truncate: whether the server may truncate texts.
    patience: seconds for which a failed request is repeated.
    cooldown: the pause that all requests share.
    open_sockets: of the requests on their way.
    """

    endpoint: Endpoint
    dimensions: int | None
    truncate: bool
    patience: float
    key: str = field(repr=False)
    cooldown: Cooldown = field(default_factory=Cooldown, repr=False)
    open_sockets: set[socket.socket] = field(default_factory=set, repr=False)

    @property
    def name(self) -> str:
        """What messages call the API."""
        return f"{PREFIX}{self.endpoint.name}"

    def hang_up(self) -> None:
        """End the requests on their way, in all threads."""
        self._http().hang_up()

    def vectors(self, texts: Sequence[str], role: Role, *, dim: int | None, tokens: int) -> tuple[Float32, int | None]:
        """Return the vectors of ``texts``, (rows, dim), as the API gives them, and the tokens that it counted.

        dim: the expected width; None accepts any.
        tokens: about how many the texts have, for the rate limits.

        Raises `ApiError` if the API refuses, or does not answer within the patience, and for an answer that cannot be
        used. Such an answer may have cost money, so it is not asked for again. The error is a `TooLargeError` if fewer
        texts may be answered.
        """
        reply = self._reply(texts, role, tokens)
        if reply.status != http.HTTPStatus.OK:
            kind = TooLargeError if reply.status in TOO_LARGE else ApiError
            raise kind(self._refusal(reply, texts))
        try:
            content = self._parsed(reply.body)
            vectors = self._read(content, len(texts), dim)
        except InputError as error:
            said = self._without_key(str(error).encode()).decode()
            raise ApiError(f"{said} The answer begins {self._words(reply)!r}. Earlier answers are kept.") from None
        usage: Any = value_at(content, self.endpoint.dialect.usage) if self.endpoint.dialect.usage else None
        # A count far above the estimate would be an error of the server, and below zero as well.
        counted = int(usage) if type(usage) in (int, float) and 0 <= usage <= 1000 * tokens + 1000 else None
        return vectors, counted

    def _parsed(self, body: bytes) -> Any:
        try:
            return parse_json(body)
        except ValueError:
            raise InputError(f"{self.name} answers with something else than JSON.") from None

    def _read(self, content: Any, rows: int, dim: int | None) -> Float32:
        dialect = self.endpoint.dialect
        if dialect.indexed:
            return openai_vectors(content, rows=rows, dim=dim, source=self.name)
        items = value_at(content, dialect.vectors) if dialect.vectors else content
        if not isinstance(items, list):
            place = ".".join(dialect.vectors) or "the answer"
            raise InputError(f"{self.name} answers in another shape: expected a list of vectors in {place}.")
        if dialect.value:
            items = [item.get(dialect.value) if isinstance(item, dict) else None for item in items]
        return listed_vectors(items, rows=rows, dim=dim, source=self.name)

    def _http(self) -> Client:
        header = self.endpoint.dialect.key_header
        return Client(timeout=TIMEOUT, key=self.key, key_header=header, open_sockets=self.open_sockets)

    def _reply(self, texts: Sequence[str], role: Role, tokens: int) -> Reply:
        """Send one request until its answer is final; raises `ApiError` when the patience ends."""
        endpoint = self.endpoint
        client = self._http()
        body = endpoint.request(texts, role, dimensions=self.dimensions, truncate=self.truncate)
        width = self.dimensions or endpoint.facts.width or 1 << 14
        most = ANSWER_BYTES + NUMBER_BYTES * len(texts) * width
        started, tries = time.monotonic(), 0
        while True:
            self.cooldown.wait()
            tries += 1
            try:
                reply = client.post(endpoint.address, body, most_bytes=most)
                problem = f"it answers with status {reply.status} ({self._words(reply)!r})"
            except UnreachableError as error:
                reply, problem = Reply(0, b""), str(error).rstrip(".")
            except InputError as error:
                raise ApiError(str(error)) from error
            if not _is_temporary(reply):
                self.cooldown.extend(min(self.patience, pause_before(reply.headers, tokens)))
                return reply
            asked = retry_after(reply.headers)
            delay = _delay(tries) if asked is None else asked
            if time.monotonic() - started + delay > self.patience:
                waits = "" if asked is None else f" It asks to wait {asked:,.0f} seconds."
                raise ApiError(
                    f"{self.name} does not give vectors: {problem}.{waits} Gave up after {tries} "
                    f"{'try' if tries == 1 else 'tries'} (patience {self.patience:g} seconds). What was answered is "
                    "kept: run the same command again later."
                )
            if self.cooldown.halt.is_set():
                raise HaltedError
            log.info("%s: %s; again in %.1f seconds", self.name, problem, delay)
            if reply.status in BUSY:
                self.cooldown.extend(delay)
            else:
                self.cooldown.sleep(delay)

    def _words(self, reply: Reply) -> str:
        """Return the beginning of an answer, without the key, which some servers repeat."""
        return excerpt(self._without_key(reply.body[:4096]))

    def _without_key(self, said: bytes) -> bytes:
        return said.replace(self.key.encode(), b"***") if self.key else said

    def _refusal(self, reply: Reply, texts: Sequence[str]) -> str:
        said = f"{self.name} answers with status {reply.status} ({self._words(reply)!r})."
        variable, model = self.endpoint.key_variable, self.endpoint.model
        if reply.status in (401, 403):
            return f"{said} Check the key in the environment variable {variable}, and that it may use {model}."
        if reply.status == http.HTTPStatus.NOT_FOUND:
            return f"{said} Check the model {model} and the address {self.endpoint.address}."
        if reply.status == http.HTTPStatus.PAYMENT_REQUIRED or _is_exhausted(reply):
            return f"{said} The account has no credit left. What was answered is kept: run the same command later."
        if reply.status in TOO_LARGE:
            return f"{said} It refuses the text {texts[0][:60]!r} ({len(texts[0]):,} characters) or an option."
        return f"{said} It was asked for {len(texts)} vectors."


def _is_temporary(reply: Reply) -> bool:
    return reply.status == 0 or (reply.status in REPEATED and not _is_exhausted(reply))


def _is_exhausted(reply: Reply) -> bool:
    return reply.status != http.HTTPStatus.OK and any(word in reply.body[:4096] for word in EXHAUSTED)


def _delay(tries: int) -> float:
    """Return the pause before the next try: twice as long each time, with some chance so that workers spread."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** (tries - 1)) * random.uniform(0.75, 1.25)
