"""The laws of engines hold for the local mode of Qdrant's client, and for the engine of its server, which runs here."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from leafkit.errors import EngineError, OptionError
from leafkit.index.pull import pull
from leafkit.index.push import push_index
from leafkit.index.verify import verify
from leafkit.search.searcher import Searcher
from tests.fixtures.engines import IDS, SPACE, VECTORS, EngineLaws
from tests.fixtures.packages import drawn_vectors, index_vectors

pytestmark = pytest.mark.slow
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    folder = tmp_path_factory.mktemp("qdrant")
    return lambda: f"qdrant://{folder}/{next(NUMBERS)}#docs"


@pytest.fixture(scope="class")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    pytest.importorskip("qdrant_client", reason="the extra qdrant is not installed")
    pytest.importorskip("qdrant_edge", reason="qdrant-edge-py, the engine of Qdrant's server, is not installed")
    from leafkit.engines.qdrant import QdrantEngine
    from tests.fixtures.qdrant_edge import EdgeClient

    folder, clients = tmp_path_factory.mktemp("edge"), {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            QdrantEngine,
            "_connect",
            lambda engine: clients.setdefault(engine._url.place, EdgeClient(folder / engine._url.place)),
        )
        yield lambda: f"qdrant://server{next(NUMBERS)}#docs"


class TestLocalMode(EngineLaws):
    """In the local mode of the client, which needs minutes to search 1,507 vectors with 40 filters."""

    test_filtered_hits_are_those_of_exact_search_on_real_vectors = None

    @pytest.fixture(scope="class")
    @classmethod
    def new_address(cls, local: Callable[[], str]) -> Callable[[], str]:
        return local


class TestServerEngine(EngineLaws):
    """In the engine of the server."""

    @pytest.fixture(scope="class")
    @classmethod
    def new_address(cls, edge: Callable[[], str]) -> Callable[[], str]:
        return edge

    @pytest.mark.parametrize(("precision", "share"), [("float16", 0.97), ("int8", 0.97), ("binary", 0.9)])
    def test_each_precision_finds_nearly_the_same(
        self, address: str, index: Path, tmp_path: Path, precision: str, share: float
    ) -> None:
        push_index(index, address, precision=precision)
        found = verify(index, address, at_least=share, k=5)
        assert found.is_equal, str(found)
        pulled = Searcher.open(pull(address, tmp_path / "pulled.index"))
        assert pulled.search(VECTORS[4], 1).scores[0] == pytest.approx(1, abs=1e-3)

    def test_a_graph_search_with_a_rare_filter_finds_all_that_is_allowed(self, address: str, tmp_path: Path) -> None:
        rows, vectors = 3000, drawn_vectors(3000, 32)
        payload = [{"text": str(row), "rare": row % 300 == 0, "tenth": row % 10} for row in range(rows)]
        index = index_vectors([str(row) for row in range(rows)], vectors, SPACE, tmp_path / "i", payload=payload)
        push_index(index, address)
        found = verify(index, address, where=["rare = true", "tenth = 3", "tenth = 3 and rare = true"], at_least=0.95)
        assert found.is_equal, str(found)
        assert [one.hits for one in found.comparisons] == [1000, 1000, 1000, 0]
        assert found.comparisons[1].share == 1


def test_a_collection_of_another_program_is_refused_and_stays(local: Callable[[], str], index: Path) -> None:
    from qdrant_client import QdrantClient, models

    address = local()
    path = address.removeprefix("qdrant://").partition("#")[0]
    client = QdrantClient(path=path)
    client.create_collection("docs", vectors_config=models.VectorParams(size=32, distance=models.Distance.DOT))
    client.upsert("docs", [models.PointStruct(id=1, vector=VECTORS[0].tolist())])
    with pytest.raises(EngineError, match="already accessed by another"):
        push_index(index, address)
    client.close()
    with pytest.raises(EngineError, match="leafkit did not write it, so it is left alone"):
        push_index(index, address)
    client = QdrantClient(path=path)
    assert client.count("docs").count == 1
    client.close()


def test_a_point_of_another_program_in_the_collection_is_an_error(local: Callable[[], str], index: Path) -> None:
    from qdrant_client import QdrantClient, models

    address = local()
    push_index(index, address)
    client = QdrantClient(path=address.removeprefix("qdrant://").partition("#")[0])
    client.upsert("docs", [models.PointStruct(id=1, vector=(5 * VECTORS[3]).tolist())])
    client.close()
    with pytest.raises(EngineError, match=r"a point of .* is no document that leafkit wrote \(1\)"):
        Searcher.open(address).search(VECTORS[3], 1)


def test_a_searcher_serves_several_threads(local: Callable[[], str], index: Path) -> None:
    address = local()
    push_index(index, address)
    searcher, found = Searcher.open(address), {}

    def search(row: int) -> None:
        found[row] = searcher.search(VECTORS[row], 1).ids

    threads = [threading.Thread(target=search, args=[row]) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {row: [IDS[row]] for row in range(8)}


def serving(answers: Callable[[str], tuple[int, Any]], seen: list[str]) -> ThreadingHTTPServer:
    """A server that answers each path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("api-key", ""))
            status, body = answers(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_server_that_refuses_the_key_is_named_without_the_key(
    local: Callable[[], str], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setenv("QDRANT_API_KEY", "very-secret")
    server = serving(lambda path: (403, {"status": {"error": "Forbidden: very-secret"}}), seen)
    with pytest.raises(EngineError, match=r"Forbidden.*Set the environment variable QDRANT_API_KEY") as error:
        push_index(index, f"qdrant://127.0.0.1:{server.server_port}#docs")
    server.shutdown()
    assert seen == ["very-secret"]
    assert "very-secret" not in str(error.value)


def test_a_server_that_cannot_be_reached_or_does_not_answer(local: Callable[[], str], index: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(EngineError, match=r"timed out.*run the same command again"):
            push_index(index, f"qdrant://127.0.0.1:{port}#docs", timeout=1)
    with pytest.raises(EngineError, match=r"refused.*run the same command again"):
        push_index(index, f"qdrant://127.0.0.1:{port}#docs", timeout=1)


def test_a_key_in_the_address_is_refused(local: Callable[[], str], index: Path) -> None:
    with pytest.raises(OptionError, match=r"qdrant://:\*\*\*@host#docs has a name or key in it\. Set .*QDRANT_API_KEY"):
        push_index(index, "qdrant://:secret@host#docs")


def test_a_damaged_folder_is_an_error_and_one_that_is_not_there_is_not_made(
    local: Callable[[], str], index: Path, tmp_path: Path
) -> None:
    address = local()
    folder = Path(address.removeprefix("qdrant://").partition("#")[0])
    with pytest.raises(EngineError, match="does not exist"):
        pull(address, tmp_path / "pulled")
    assert not folder.exists()
    push_index(index, address)
    for file, message in (("collection/docs/storage.sqlite", "not a database"), ("meta.json", "collections")):
        (folder / file).write_text("{}" if file == "meta.json" else "no database " * 100)
        with pytest.raises(EngineError, match=message):
            pull(address, tmp_path / "pulled")
