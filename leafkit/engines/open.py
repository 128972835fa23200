"""Open the engine of an address."""

from __future__ import annotations

from collections.abc import Callable

from leafkit.engines.engine import Engine
from leafkit.engines.url import EngineUrl

TIMEOUT = 60.0  # seconds
Opener = Callable[[EngineUrl, float], Engine]


def open_engine(url: EngineUrl, *, timeout: float = TIMEOUT) -> Engine:
    """Connect to ``url``. Use the result as a context manager, which closes the connection.

    timeout: seconds after which a connection attempt, or any call but `Engine.finish`, fails.

    Raises `EngineError` if the engine cannot be reached, and `MissingExtraError` without its client.
    """
    return ADAPTERS[url.engine](url, timeout)


def _postgresql(url: EngineUrl, timeout: float) -> Engine:
    from leafkit.engines.postgresql import PostgresEngine

    return PostgresEngine(url, timeout)


def _lancedb(url: EngineUrl, timeout: float) -> Engine:
    from leafkit.engines.lance import LanceEngine

    return LanceEngine(url, timeout)


def _milvus(url: EngineUrl, timeout: float) -> Engine:
    from leafkit.engines.milvus import MilvusEngine

    return MilvusEngine(url, timeout)


def _qdrant(url: EngineUrl, timeout: float) -> Engine:
    from leafkit.engines.qdrant import QdrantEngine

    return QdrantEngine(url, timeout)


# How each engine of `leafkit.engines.url.SCHEMES` is opened. Its client is imported only then.
ADAPTERS: dict[str, Opener] = {
    "postgresql": _postgresql,
    "qdrant": _qdrant,
    "lancedb": _lancedb,
    "milvus": _milvus,
}
