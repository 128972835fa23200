"""What the server sends: JSON or text, and one shape for all errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from leafkit.errors import LeafkitError
from leafkit.files.json_file import standard_json

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = "application/json"
# The class of an error in the answer, by its status, in the words of the OpenAI API.
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 503: "overloaded_error"}


class RequestError(LeafkitError):
    """A request that gets an error as its answer, with this HTTP ``status`` and these ``headers``."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def reply(self) -> Reply:
        """Return the answer: ``{"error": {"message": ..., "type": ...}}``, which the openai client reads too."""
        fallback = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": str(self), "type": _TYPES.get(self.status, fallback)}
        return Reply(json_bytes({"error": error}), status=self.status, headers=self.headers)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its whole ``body``; itself an ASGI app that sends this answer to any request."""

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        headers = {"content-type": self.kind, "content-length": str(len(self.body)), **self.headers}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": raw})
        await send({"type": "http.response.body", "body": self.body})


def json_bytes(value: Any) -> bytes:
    """Return ``value`` as JSON in ASCII (see `standard_json`)."""
    return standard_json(value).encode("ascii")
