"""Serve indexes over HTTP: search, query embeddings, health and metrics, without torch. Needs `leafkit[serve]`.

`app` makes a plain ASGI application, which any ASGI server runs; ``leafkit serve`` runs it with uvicorn.

- `application`: the routes, the start and the stop of the app.
- `gate`: keys and limits before a request is read, and its place in the counters.
- `endpoints`, `fields`, `replies`: from a request to its answer; every error is JSON with one message.
- `workers`: the threads that compute, one text at a time, and the limit on what waits.
- `indexes`: open indexes by name, reopened when their folders change.
- `keys`, `metrics`: who may ask, and what is counted.
- `run`: listen with uvicorn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leafkit.serve.application import app as app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from leafkit.serve.application import app

    return app
