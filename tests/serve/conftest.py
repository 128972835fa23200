"""A small index of help pages with the student that ships, and a client of the app that serves it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.search.query_encoder import QueryEncoder
from leafkit.search.searcher import Searcher
from leafkit.shipped import resolve_student
from leafkit.space import Space
from tests.fixtures.packages import index_vectors

STUDENT = "bge-small-leaf"


@pytest.fixture(scope="session")
def student_space() -> Space:
    """The space of the student that ships."""
    return Space.from_json(json.loads((resolve_student(STUDENT) / "leafkit.json").read_text())["space"])


@pytest.fixture(scope="session")
def build(student_space: Space, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that builds an index of ``rows`` drawn unit vectors with the student inside."""
    vectors = numpy.random.default_rng(0).standard_normal((80, student_space.dim)).astype(numpy.float32)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)

    def make(out: Path | None = None, rows: int = 60, space: Space = student_space, **options: Any) -> Path:
        out = out or tmp_path_factory.mktemp("served") / "docs.index"
        payload = [{"text": f"text {row}", "row": row} for row in range(rows)]
        ids = [f"doc {row}" for row in range(rows)]
        given = {"student": resolve_student(STUDENT), **options}
        return index_vectors(ids, vectors[:rows, : space.dim], space, out, payload=payload, **given)

    return make


@pytest.fixture(scope="session")
def index(build: Callable[..., Path]) -> Path:
    """An index that no test changes."""
    return build()


@pytest.fixture(scope="session")
def vectors_index(build: Callable[..., Path]) -> Path:
    """An index without a student, which opens faster; it takes vectors. No test changes it."""
    return build(student=None)


@pytest.fixture(scope="session")
def searcher(index: Path) -> Searcher:
    """The index, opened beside the server."""
    return Searcher.open(index)


@pytest.fixture(scope="session")
def encoder() -> QueryEncoder:
    """The student, opened beside the server."""
    return QueryEncoder.open(STUDENT)


@contextlib.contextmanager
def client_of(*indexes: Any, **options: Any) -> Iterator[Any]:
    """Serve ``indexes`` inside the block, in this process; gives the client of the app."""
    testclient = pytest.importorskip("starlette.testclient", reason="the extra serve is not installed")
    from leafkit.serve import app

    with testclient.TestClient(app(list(indexes), **options), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def client(index: Path) -> Iterator[Any]:
    """A client of the server of the index, with small limits."""
    with client_of(index, max_k=50, max_texts=8, max_characters=100, max_body=0.05, queue=8) as client:
        yield client


def message(answer: Any, status: int) -> str:
    """Return the message of an error, which has this ``status`` and the shape that all errors have."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json().values()
    assert set(error) == {"message", "type"}
    assert error["message"].endswith((".", "?", "^"))  # the last shows a place in a filter
    return error["message"]
