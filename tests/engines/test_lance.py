"""The laws of engines hold for LanceDB, and what is its own."""

from __future__ import annotations

import itertools

import pytest

from leafkit.engines import lance
from leafkit.engines.open import open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, OptionError
from leafkit.index.pull import pull
from leafkit.index.push import push_index
from leafkit.index.verify import verify
from leafkit.teachers.open import open_teacher
from tests.fixtures.engines import ROWS, VECTORS, EngineLaws

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def new_address(tmp_path_factory):
    pytest.importorskip("lancedb", reason="the extra lancedb is not installed")
    folder, numbers = tmp_path_factory.mktemp("lance"), itertools.count()
    return lambda: f"lancedb://{folder}/it's {next(numbers)}#docs"


class TestLance(EngineLaws):
    """In LanceDB."""


def test_an_index_of_vectors_finds_nearly_all_hits(new_address, index, monkeypatch):
    monkeypatch.setattr(lance, "INDEXED", 100)
    address = new_address()
    push_index(index, address)
    found = verify(index, address, sample=50, at_least=0.9)
    assert found.is_equal, str(found)
    with open_engine(EngineUrl.parse(address)) as engine:
        (hits,) = engine.search(VECTORS[:1], ROWS)
    assert len(hits) == ROWS


def test_a_table_of_someone_else_is_left_alone(new_address, index):
    lancedb = pytest.importorskip("lancedb", reason="the extra lancedb is not installed")
    address = new_address()
    lancedb.connect(EngineUrl.parse(address).place).create_table("docs", data=[{"id": 1, "vector": [0.0, 1.0]}])
    with pytest.raises(EngineError, match="leafkit did not write it, so it is left alone"):
        push_index(index, address)


def test_what_is_not_there_is_not_made(tmp_path):
    pytest.importorskip("lancedb", reason="the extra lancedb is not installed")
    with pytest.raises(EngineError, match="does not exist"):
        pull(f"lancedb://{tmp_path}/none#docs", tmp_path / "pulled")
    for address, message in (("lancedb://a#do cs", "no name of a LanceDB table"), ("lancedb://#docs", "no folder")):
        with pytest.raises(OptionError, match=message):
            pull(address, tmp_path / "pulled")
    (tmp_path / "broken" / "docs.lance").mkdir(parents=True)
    with pytest.raises(EngineError, match="does not exist"):
        pull(f"lancedb://{tmp_path}/broken#docs", tmp_path / "pulled")


@pytest.mark.parametrize("missing", ["vector", "payload"])
def test_a_row_that_lacks_something_is_an_error(new_address, index, tmp_path, missing):
    lancedb = pytest.importorskip("lancedb", reason="the extra lancedb is not installed")
    address = new_address()
    push_index(index, address)
    table = lancedb.connect(EngineUrl.parse(address).place).open_table("docs")
    table.update(where="id = 'doc 3'", values_sql={missing: "NULL"})
    calls = [lambda: pull(address, tmp_path / "pulled"), lambda: open_teacher(address)]
    if missing == "payload":
        calls.append(lambda: verify(index, address, sample=ROWS, where=[]))
    for call in calls:
        with pytest.raises(EngineError, match="a row without an id, a vector or a payload"):
            call()


def test_a_message_of_lancedb_shows_no_password(tmp_path, monkeypatch):
    lancedb = pytest.importorskip("lancedb", reason="the extra lancedb is not installed")

    def refuse(address):
        raise RuntimeError(f"no access to {address}")

    monkeypatch.setattr(lancedb, "connect", refuse)
    with pytest.raises(EngineError, match=r"no access to s3:\*\*\*@bucket") as error:
        pull("lancedb://s3://key:SECRET@bucket#docs", tmp_path / "pulled")
    assert "SECRET" not in str(error.value)
