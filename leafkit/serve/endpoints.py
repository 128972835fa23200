"""What each endpoint answers. Handlers get the body of the request and return a `Reply`; they know no web framework."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

from leafkit.search.query_encoder import QueryEncoder
from leafkit.search.searcher import Searcher
from leafkit.serve import metrics
from leafkit.serve.fields import EmbeddingRequest, SearchRequest, invalid, parse_body, search_options
from leafkit.serve.indexes import Indexes, Opened, ServedIndex
from leafkit.serve.metrics import Metrics, label
from leafkit.serve.options import ServeOptions
from leafkit.serve.replies import Reply, RequestError, json_bytes
from leafkit.serve.workers import Task, Workers
from leafkit.space import describe
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_prefix
from leafkit.version import __version__

# /health waits this many seconds for a worker before it calls the server unhealthy.
HEALTH_SECONDS = 10.0
NOT_REOPENED = "the folder changed and was not opened again; /info and the log say why"


class Endpoints:
    """The handlers of all routes, over what they share: the open indexes, the workers and the counters."""

    def __init__(self, indexes: Indexes, workers: Workers, limits: ServeOptions, counters: Metrics) -> None:
        self._indexes = indexes
        self._workers = workers
        self._limits = limits
        self._metrics = counters
        self._started = time.time()

    async def search(self, body: bytes) -> Reply:
        """Search an index: POST {"query": text or texts, or "vector": numbers, "k", "index", "allow", ...}."""
        request = SearchRequest.parse(parse_body(body), self._limits)
        opened = self._indexes.open_now(request.index)
        # Equal texts with equal options have equal hits. Vectors are hardly ever equal.
        options = json_bytes(request.options)
        tasks = [
            Task(
                lambda query=query: _hits(opened, query, request.options),
                ("search", opened.name, opened.number, query, options) if isinstance(query, str) else None,
            )
            for query in request.queries
        ]
        found = await self._workers.run(tasks)
        name = json_bytes(opened.name)
        if request.single:
            return Reply(b'{"index":%s,"hits":%s}' % (name, found[0]))
        return Reply(b'{"index":%s,"results":[%s]}' % (name, b",".join(b'{"hits":%s}' % hits for hits in found)))

    async def openai(self, body: bytes) -> Reply:
        """Encode queries as the OpenAI API does: POST /v1/embeddings."""
        request = EmbeddingRequest.parse_openai(parse_body(body), self._limits)
        opened, rows = await self._encode(request)
        data = b",".join(
            b'{"object":"embedding","index":%d,"embedding":%s}' % (number, row) for number, (row, _) in enumerate(rows)
        )
        tokens = sum(count for _, count in rows)
        usage = json_bytes({"prompt_tokens": tokens, "total_tokens": tokens})
        return Reply(b'{"object":"list","data":[%s],"model":%s,"usage":%s}' % (data, json_bytes(opened.name), usage))

    async def tei(self, body: bytes) -> Reply:
        """Encode queries as text-embeddings-inference does: POST /embed."""
        _, rows = await self._encode(EmbeddingRequest.parse_tei(parse_body(body), self._limits))
        return Reply(b"[%s]" % b",".join(row for row, _ in rows))

    async def health(self, body: bytes) -> Reply:
        """Encode a golden text with every index, on the workers; 503 if one of them fails or takes too long."""
        served = self._indexes.all()
        checks = [Task(one.opened.is_healthy, ("health", one.name, one.opened.number)) for one in served]
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                healthy = await self._workers.run(checks, always=True)
        except TimeoutError as error:
            raise RequestError(503, f"no worker answered within {HEALTH_SECONDS:g} s.") from error
        wrong = [one.name for one, right in zip(served, healthy, strict=True) if not right]
        if wrong:
            raise RequestError(503, f"the golden text got another vector in {', '.join(wrong)}. Restart the server.")
        # Asked without a key: no message that names a folder.
        states = {one.name: "ok" if one.problem is None else NOT_REOPENED for one in served}
        return Reply(json_bytes({"status": "ok", "indexes": states}))

    async def metrics(self, body: bytes) -> Reply:
        """Return counters, latencies, the queue and the indexes as Prometheus reads them."""
        served, workers = self._indexes.all(), self._workers
        labels = {one.name: label("index", one.name) for one in served}
        gauges = [
            ("leafkit_requests_in_progress", "gauge", "Requests in progress.", {"": self._metrics.in_progress}),
            ("leafkit_queue_texts", "gauge", "Texts and vectors waiting or in work.", {"": workers.unfinished}),
            ("leafkit_queue_limit_texts", "gauge", "Most that may wait.", {"": self._limits.queue}),
            ("leafkit_texts_total", "counter", "Texts and vectors computed.", {"": workers.computed}),
            ("leafkit_texts_shared_total", "counter", "Texts answered by another's work.", {"": workers.shared}),
            ("leafkit_start_time_seconds", "gauge", "When the server started.", {"": self._started}),
            (
                "leafkit_index_documents",
                "gauge",
                "Documents in the index.",
                {labels[one.name]: len(one.opened.searcher) for one in served},
            ),
            (
                "leafkit_index_reloads_total",
                "counter",
                "How often the index was reopened.",
                {labels[one.name]: one.reloads for one in served},
            ),
            (
                "leafkit_index_refused",
                "gauge",
                "1 if the folder's new content was not opened.",
                {labels[one.name]: one.problem is not None for one in served},
            ),
        ]
        return Reply(self._metrics.text(gauges).encode(), kind=metrics.KIND)

    async def info(self, body: bytes) -> Reply:
        """Return what is served and what a request may hold."""
        names = ("max_k", "max_texts", "max_characters", "max_bytes", "queue")
        return Reply(
            json_bytes(
                {
                    "leafkit": __version__,
                    "indexes": {one.name: _facts(one) for one in self._indexes.all()},
                    "limits": {name: getattr(self._limits, name) for name in names},
                    "search_fields": ["query", "vector", "index", *search_options()],
                }
            )
        )

    async def _encode(self, request: EmbeddingRequest) -> tuple[Opened, list[tuple[bytes, int]]]:
        """Return the vector of each text as JSON, and how many tokens the text has."""
        opened = self._indexes.open_now(request.index)
        encoder, widths = opened.embedding_encoder(), opened.widths()
        if request.dim is not None and request.dim not in widths:
            raise invalid(
                f"dimensions is {request.dim}; expected {' or '.join(map(str, widths))}. A prefix of another length is "
                "no vector that the index can search."
            )
        tasks = [
            Task(
                lambda text=text: (_row(encoder.encode([text], "query"), request), _tokens(encoder, text)),
                ("embed", opened.name, opened.number, text, request.base64, request.dim),
            )
            for text in request.texts
        ]
        return opened, await self._workers.run(tasks)


def _hits(opened: Opened, query: str | Float32, options: dict[str, Any]) -> bytes:
    """Return the hits of one query as a JSON list."""
    return opened.search(query, **options).to_json(nested=True).encode()


def _row(vectors: Float32, request: EmbeddingRequest) -> bytes:
    """Return the only one of ``vectors`` as a JSON value: numbers, or the base64 of little-endian float32."""
    if request.dim is not None and request.dim < vectors.shape[1]:
        vectors = unit_prefix(vectors, request.dim, source="the text")
    row = vectors[0]
    return b'"%s"' % base64.b64encode(row.astype("<f4").tobytes()) if request.base64 else json_bytes(row.tolist())


def _tokens(encoder: Any, text: str) -> int:
    return int(encoder.tokens(text, "query")["input_ids"].size) if isinstance(encoder, QueryEncoder) else 0


def _efforts(searcher: Searcher) -> dict[str, dict[str, Any]]:
    """Return what is known of each encoder that a search may choose by its effort."""
    files = searcher.manifest.files
    facts: dict[str, dict[str, Any]] = {effort: {} for effort in searcher.efforts}
    for rung in searcher.rungs:
        size = sum(file["bytes"] for name, file in files.items() if name.startswith(f"{rung.folder}/"))
        facts[rung.effort] = {"student": rung.student, "layers": rung.layers, "bytes": size}
    return facts


def _facts(served: ServedIndex) -> dict[str, Any]:
    opened, searcher = served.opened, served.opened.searcher
    encoder = opened.encoder
    return {
        "documents": len(searcher),
        "space": searcher.space.id,
        "space_described": describe(searcher.space),
        "dim": searcher.manifest.dim,
        "precision": searcher.manifest.precision,
        "bytes": sum(file["bytes"] for file in searcher.manifest.files.values()),
        "columns": searcher.columns,
        "hybrid": "words" in searcher.manifest.parts,
        "encoder": None
        if encoder is None
        else {"dim": encoder.space.dim, "precision": getattr(encoder, "precision", None)},
        "efforts": _efforts(searcher),
        "reloads": served.reloads,
        "problem": served.problem,
    }
