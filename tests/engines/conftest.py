"""The index that is pushed into engines, and an engine in memory in the place of a real one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from leafkit.engines.open import ADAPTERS
from tests.fixtures.engines import TABLES, MemoryEngine, index, real

__all__ = ["index", "real"]

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def memory() -> Iterator[Callable[[], str]]:
    """A function that returns addresses of tables in memory."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(ADAPTERS, "postgresql", lambda url, timeout: TABLES.setdefault(url.name, MemoryEngine()))
        yield lambda: f"postgresql://me:secret@host/db#table{next(NUMBERS)}"
