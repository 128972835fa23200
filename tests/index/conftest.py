"""Small packages of drawn vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from leafkit.index.build import index_vectors
from leafkit.space import Space

SPACE = Space(teacher="drawn", weights="name:drawn", dim=64, normalised=True, pooling="mean", max_length=64)


@pytest.fixture
def space() -> Space:
    """A space of 64 components."""
    return SPACE


@pytest.fixture(scope="session")
def vectors() -> numpy.ndarray:
    """Five hundred unit vectors."""
    rows = numpy.random.default_rng(0).standard_normal((500, 64))
    return (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype(numpy.float32)


@pytest.fixture
def ids() -> list[str]:
    """An id for each vector."""
    return [f"doc {row}" for row in range(500)]


@pytest.fixture
def make(tmp_path: Path, vectors: numpy.ndarray, ids: list[str]) -> Callable[..., Path]:
    """A function that builds a package of the first ``rows`` vectors."""

    def build(rows: int = 400, name: str = "docs.index", **options: object) -> Path:
        payload = [{"text": f"text {row}", "row": row} for row in range(rows)]
        return index_vectors(ids[:rows], vectors[:rows], SPACE, tmp_path / name, payload=payload, **options)

    return build
