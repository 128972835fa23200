"""The ASGI app: which path goes to which endpoint, and what happens to a request before and after."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from leafkit.extras import explain_missing_extras
from leafkit.options import options_of, takes
from leafkit.serve.endpoints import Endpoints
from leafkit.serve.gate import Endpoint, Gate, Handler
from leafkit.serve.indexes import Indexes, OpenTeacher, name_indexes
from leafkit.serve.keys import Keys, read_keys
from leafkit.serve.metrics import Metrics
from leafkit.serve.options import ServeOptions
from leafkit.serve.page import page_files
from leafkit.serve.replies import Asgi, RequestError
from leafkit.serve.workers import Workers

VARIABLE = "LEAFKIT_INDEXES"


@takes(ServeOptions)
def app(
    indexes: str | Path | Sequence[str | Path] | Mapping[str, str | Path] | None = None,
    *,
    encoder: str | Path | None = None,
    teacher: OpenTeacher | None = None,
    verify: bool = True,
    **options: Any,
) -> Asgi:
    """Open the indexes and return an ASGI app that serves them.

    indexes: index folders, ``NAME=FOLDER`` texts, or a mapping of names to folders. Without any, the environment
        variable LEAFKIT_INDEXES holds them, separated by spaces: ``uvicorn --factory leafkit.serve:app``.
    encoder, verify: as in `leafkit.Searcher.open`.
    teacher: a function that opens the teacher of the index in a folder, for requests with the effort ``teacher``. It is
        called at the first such request. By default these requests are refused.

    The app needs an ASGI server that sends the lifespan events, as uvicorn, granian and hypercorn do.

    Raises the errors of `leafkit.Searcher.open`, `OptionError` for an option outside its range, and `MissingExtraError`
    without the extra ``serve``.
    """
    limits = options_of(ServeOptions, options)
    folders = name_indexes(shlex.split(os.environ.get(VARIABLE, "")) if indexes is None else indexes)
    keys = read_keys(limits.api_key_file)
    return _build(Indexes(folders, encoder=encoder, teacher=teacher, verify=verify), limits, keys)


def _build(indexes: Indexes, limits: ServeOptions, keys: Keys) -> Asgi:
    with explain_missing_extras():
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.middleware import Middleware
        from starlette.middleware.cors import CORSMiddleware
        from starlette.routing import Route

    workers, counters = Workers(limits.workers or os.cpu_count() or 1, limits.queue), Metrics()
    endpoints = Endpoints(indexes, workers, limits, counters)
    handlers: dict[str, tuple[str, Handler]] = {
        "/search": ("POST", endpoints.search),
        "/v1/embeddings": ("POST", endpoints.openai),
        "/embed": ("POST", endpoints.tei),
        "/health": ("GET", endpoints.health),
        "/metrics": ("GET", endpoints.metrics),
        "/info": ("GET", endpoints.info),
    }
    gate = Gate(limits, keys, counters)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with workers:
            watching = asyncio.create_task(indexes.watch(limits.watch)) if limits.watch else None
            yield
            if watching:
                watching.cancel()

    async def refuse(request: Any, error: Any) -> Any:
        """Answer an unknown path or a wrong method; Starlette raises both."""
        counters.count_refused(error.status_code)
        path = request.url.path[:80]
        message = (
            f"{path} does not take {request.method[:20]} requests. Send {error.headers['Allow']}."
            if error.status_code == 405
            else f"there is no {path}. Endpoints: {', '.join(handlers)}."
        )
        return RequestError(error.status_code, message, error.headers).reply()

    return Starlette(
        routes=[
            Route(path, Endpoint(gate, path, method, handler), methods=[method])
            for path, (method, handler) in handlers.items()
        ]
        + [Route(path, file, methods=["GET"]) for path, file in page_files().items()],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=list(limits.cors),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            )
        ]
        * bool(limits.cors),
        exception_handlers={HTTPException: refuse},
        lifespan=lifespan,
    )
