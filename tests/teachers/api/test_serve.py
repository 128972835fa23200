"""`leafkit serve` as a foreign client sees it: vectors of queries, through both of its protocols."""

from __future__ import annotations

import json
import socket
import threading

import numpy
import pytest

from leafkit.errors import ApiError
from leafkit.search.query_encoder import QueryEncoder
from leafkit.shipped import resolve_student
from leafkit.space import Space
from leafkit.teachers.open import open_teacher
from tests.fixtures.packages import index_vectors

STUDENT = "bge-small-leaf"
QUERIES = ["copy a folder", "list open ports", "naïve café 数据 🙂"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of an index with the student that ships."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from leafkit.serve import app

    space = Space.from_json(json.loads((resolve_student(STUDENT) / "leafkit.json").read_text())["space"])
    vectors = numpy.eye(3, space.dim, dtype=numpy.float32)
    out = tmp_path_factory.mktemp("served") / "docs.index"
    index = index_vectors(["a", "b", "c"], vectors, space, out, student=resolve_student(STUDENT))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app([index]), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)


@pytest.mark.parametrize("path", ["/v1", "/embed"])
def test_vectors_of_queries_are_those_of_the_student(served, path):
    teacher = open_teacher(f"api:{served}{path}#docs")
    own = QueryEncoder.open(STUDENT)
    expected = numpy.concatenate([own.encode([query], "query") for query in QUERIES])
    assert (teacher.space.dim, teacher.space.normalised) == (expected.shape[1], True)
    assert numpy.allclose(teacher.encode(QUERIES, "query"), expected, atol=1e-6)


def test_what_the_server_refuses_is_one_message(served):
    with pytest.raises(ApiError, match=r"status 4\d\d .*dimensions"):
        open_teacher(f"api:{served}/v1#docs", dimensions=100).encode(QUERIES, "query")
