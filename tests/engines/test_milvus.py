"""The laws of engines hold for Milvus Lite, which has the client and the filters of a server, and what is its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from leafkit.errors import EngineError, OptionError
from leafkit.index.pull import pull
from leafkit.index.push import push_index
from leafkit.index.verify import verify
from leafkit.search.searcher import Searcher
from tests.fixtures.engines import IDS, SPACE, VECTORS, EngineLaws, make_index
from tests.fixtures.packages import index_vectors, update_vectors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def new_address(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    for module in ("pymilvus", "milvus_lite"):
        pytest.importorskip(module, reason="the extra milvus is not installed")
    file, numbers = tmp_path_factory.mktemp("milvus") / "docs.db", itertools.count()
    return lambda: f"milvus://{file}#docs_{next(numbers)}"


class TestMilvus(EngineLaws):
    """In Milvus Lite."""

    def test_a_push_follows_an_updated_index(self, address: str, tmp_path: Path) -> None:
        """A new column is a new field, which only a server can add."""
        index = make_index(tmp_path / "docs.index", rows=100)
        push_index(index, address)
        update_vectors(
            index, ids=[IDS[5]], vectors=VECTORS[120:121], payload=[{"text": "b", "integer": 3}], replace=True
        )
        update_vectors(index, remove=[IDS[7]])
        counts = push_index(index, address, prune=True)
        assert (counts.written, counts.already, counts.removed, counts.others) == (1, 98, 1, 0)
        assert verify(index, address, where=["integer = 3", "integer > 6"]).is_equal
        update_vectors(index, ids=["new"], vectors=VECTORS[121:122], payload=[{"text": "c", "year": 2020}])
        with pytest.raises(EngineError, match=r"new columns, and Milvus Lite cannot add fields .* another collection"):
            push_index(index, address)


def test_a_collection_that_is_not_loaded_is_loaded(new_address: Callable[[], str], index: Path) -> None:
    """So a new process finds it."""
    address = new_address()
    push_index(index, address)
    file, _, name = address.removeprefix("milvus://").partition("#")
    client = pytest.importorskip("pymilvus").MilvusClient(file)
    client.release_collection(name)
    client.close()
    assert verify(index, address, sample=5, where=[]).is_equal


def test_a_long_payload_comes_back(new_address: Callable[[], str], tmp_path: Path) -> None:
    """A text of Milvus has at most 65,535 bytes."""
    payload = [{"text": "é" * 40_000, "title": "long"}, {"text": ""}]
    index, address = index_vectors(["a", "b"], VECTORS[:2], SPACE, tmp_path / "a.index", payload=payload), new_address()
    push_index(index, address)
    hits = Searcher.open(pull(address, tmp_path / "pulled.index")).search(VECTORS[0], k=2)
    assert hits.payload == payload


def test_more_columns_than_a_collection_has_fields_are_refused(new_address: Callable[[], str], tmp_path: Path) -> None:
    payload = [{"text": "a", **{f"column {number}": number for number in range(31)}}]
    index = index_vectors(["a"], VECTORS[:1], SPACE, tmp_path / "a.index", payload=payload)
    with pytest.raises(OptionError, match="take 62 fields of a collection, and Milvus has 64 with 4 of its own"):
        push_index(index, new_address())


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
    with pytest.raises(EngineError, match="does not exist"):
        pull(f"milvus://{tmp_path}/none.db#docs", tmp_path / "pulled")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("pymilvus", reason="the extra milvus is not installed")
    with pytest.raises(EngineError, match=r"milvus://me:\*+@127.0.0.1:1/db#docs: .*Check the address") as failed:
        pull("milvus://me:secret@127.0.0.1:1/db#docs", tmp_path / "pulled", timeout=2)
    assert "secret" not in str(failed.value)
    with pytest.raises(OptionError, match="no name of a Milvus collection"):
        pull("milvus://localhost#do cs", tmp_path / "pulled")
