"""The laws of engines hold for a real PostgreSQL with pgvector, and what is its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.engines.open import open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, OptionError
from leafkit.index.pull import pull
from leafkit.index.push import push_index
from leafkit.index.verify import verify
from leafkit.search.searcher import Searcher
from tests.fixtures.engines import IDS, PAYLOADS, ROWS, SPACE, VECTORS, EngineLaws
from tests.fixtures.packages import drawn_vectors, index_vectors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def new_address(server: Any) -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f'{server.get_uri()}#table {next(numbers)}"; --'


@pytest.fixture
def connection(server: Any) -> Iterator[Any]:
    """A connection of another program."""
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        yield connection


class TestPostgres(EngineLaws):
    """In PostgreSQL."""


def name_of(address: str) -> str:
    return address.partition("#")[2]


def quoted(address: str) -> str:
    name = name_of(address).replace('"', '""')
    return f'"{name}"'


@pytest.mark.parametrize(("precision", "kind"), [("float32", "vector"), ("float16", "halfvec"), ("binary", "halfvec")])
def test_each_precision_has_its_type_and_index(
    new_address: Callable[[], str], index: Path, connection: Any, tmp_path: Path, precision: str, kind: str
) -> None:
    address = new_address()
    push_index(index, address, precision=precision)
    column = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'embedding'"
    assert connection.execute(f"{column} AND attrelid = %s::regclass", [quoted(address)]).fetchone()[0] == f"{kind}(32)"
    made = connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [name_of(address)]).fetchall()
    assert sum("hnsw" in one[0] for one in made) == 1
    assert ("binary_quantize" in str(made)) == (precision == "binary")
    found = verify(index, address, at_least=0.95, k=5)
    assert found.is_equal, str(found)
    with pytest.raises(OptionError, match=f"holds {precision} vectors of 32 components"):
        push_index(index, address, precision="float16" if precision == "float32" else "float32")
    pulled = Searcher.open(pull(address, tmp_path / "pulled.index"))
    assert pulled.search(VECTORS[4], 1).scores[0] == pytest.approx(1, abs=1e-6 if precision == "float32" else 1e-3)


@pytest.mark.parametrize("scanned", [0, 20_000])
def test_a_search_with_a_rare_filter_finds_all_that_is_allowed(
    new_address: Callable[[], str], tmp_path: Path, connection: Any, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    """By the graph, which many rows need, and by scoring all allowed rows."""
    monkeypatch.setattr("leafkit.engines.postgresql._SCANNED", scanned)
    rows, vectors = 3000, drawn_vectors(3000, 32)
    payload = [{"text": str(row), "rare": row % 300 == 0, "tenth": row % 10} for row in range(rows)]
    index = index_vectors([str(row) for row in range(rows)], vectors, SPACE, tmp_path / "i", payload=payload)
    address = new_address()
    push_index(index, address)
    plan = connection.execute(
        f"EXPLAIN SELECT id FROM {quoted(address)} ORDER BY embedding <#> %s::vector LIMIT 5",
        [str(vectors[0].tolist())],
    ).fetchall()
    assert "leafkit_hnsw" in str(plan)
    found = verify(index, address, where=["rare = true", "tenth = 3", "tenth = 3 and rare = true"], at_least=0.95)
    assert found.is_equal, str(found)
    assert [one.hits for one in found.comparisons] == [1000, 1000, 1000, 0]
    assert found.comparisons[1].share == 1
    assert scanned == 0 or found.comparisons[2].share == 1


def test_a_table_of_another_program_is_refused_and_stays(
    new_address: Callable[[], str], index: Path, connection: Any
) -> None:
    for number, kind in enumerate(("TABLE", "VIEW")):
        name = f"theirs{number}"
        connection.execute(f"CREATE {kind} {name} {'(a int)' if kind == 'TABLE' else 'AS SELECT 1 AS a'}")
        connection.execute(f"COMMENT ON {kind} {name} IS 'hands off'")
        address = new_address().partition("#")[0] + f"#public.{name}"
        for call in (lambda a=address: push_index(index, a), lambda a=address: verify(index, a)):
            with pytest.raises(EngineError, match="leafkit did not write it, so it is left alone"):
                call()
        assert connection.execute(f"SELECT count(a) FROM {name}").fetchone()[0] == number


def test_a_statement_has_a_time_limit(new_address: Callable[[], str], index: Path, connection: Any) -> None:
    address = new_address()
    push_index(index, address)
    with connection.transaction():
        connection.execute(f"LOCK TABLE {quoted(address)}")
        with pytest.raises(EngineError, match=r"canceling statement.*The limit is 0\.5 seconds; give more"):
            push_index(index, address, timeout=0.5)
    assert push_index(index, address).already == ROWS


def test_a_push_goes_on_after_the_server_was_stopped(
    new_address: Callable[[], str], index: Path, server: Any, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leafkit.engines.postgresql import PostgresEngine

    address, write, done = new_address(), PostgresEngine.write, []
    url = address.replace("postgres:@", "postgres:secret@")

    def write_until_the_server_stops(engine: PostgresEngine, rows: Any) -> None:
        write(engine, rows)
        done.append(len(rows))
        if len(done) == 2:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leafkit'"
            )
            monkeypatch.setattr(engine, "_connect", lambda: engine._psycopg.connect("host=/nowhere"))

    monkeypatch.setattr(PostgresEngine, "write", write_until_the_server_stops)
    with pytest.raises(EngineError, match=r"run the same command again.*80 of 150 documents are there") as error:
        push_index(index, url, batch=40)
    assert "secret" not in str(error.value)
    monkeypatch.undo()
    assert push_index(index, address, batch=40).written == ROWS - 80
    assert verify(index, address).is_equal


def test_tables_whose_long_names_begin_alike_have_an_index_each(server: Any, index: Path, connection: Any) -> None:
    for end in "ab":
        push_index(index, f"{server.get_uri()}#{'long' * 12}{end}")
        made = connection.execute("SELECT indexdef FROM pg_indexes WHERE tablename = %s", [f"{'long' * 12}{end}"])
        assert sum("hnsw" in one[0] for one in made.fetchall()) == 1


def test_a_lost_connection_is_opened_again(new_address: Callable[[], str], index: Path, connection: Any) -> None:
    address = new_address()
    push_index(index, address)
    searcher = Searcher.open(address)
    stop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leafkit'"
    for _ in range(2):
        assert searcher.search(VECTORS[3], 1).ids == [IDS[3]]
        connection.execute(stop)


def test_vectors_of_another_width_in_the_table_are_refused(
    server: Any, index: Path, connection: Any, tmp_path: Path
) -> None:
    address = f"{server.get_uri()}#forged"
    push_index(index, address)
    (name,) = connection.execute(
        "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%forged USING hnsw%'"
    ).fetchone()
    connection.execute(f"DROP INDEX {name}")
    connection.execute("ALTER TABLE forged ALTER embedding TYPE vector USING embedding::vector")
    connection.execute("UPDATE forged SET embedding = '[1,2,3]' WHERE id = 'doc 3'")
    with pytest.raises(EngineError, match=r"'doc 3'.*3 components; expected 32"):
        pull(address, tmp_path / "pulled.index")
    assert not (tmp_path / "pulled.index").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("#a.b.c", "is no name of a table"),
        (f"#{'x' * 64}", "is no name of a table"),
        ("&sslmode=strange#t", "invalid sslmode"),
        ("&colour=red#t", "invalid URI query parameter"),
        ("&options=-c%20role%3Dnobody#t", "role"),
    ],
)
def test_addresses_that_the_server_refuses(server: Any, index: Path, change: str, message: str) -> None:
    with pytest.raises((EngineError, OptionError), match=message):
        push_index(index, server.get_uri().replace("postgres:@", "postgres:secret@") + change)


def test_vectors_that_are_too_wide_for_an_index_name_the_precision(server: Any, tmp_path: Path) -> None:
    from leafkit.engines.contents import Contents
    from leafkit.filters.schema import Schema
    from leafkit.space import Space

    space = Space(teacher="wide", weights="name:wide", dim=3072, normalised=True, pooling="cls", max_length=None)
    contents = Contents(space=space, dim=3072, precision="float32", schema=Schema(), complete=False)
    with open_engine(EngineUrl.parse(f"{server.get_uri()}#wide")) as engine:
        with pytest.raises(OptionError, match=r"vector up to 2,000 components.*Use --precision float16"):
            engine.create(contents)
        assert engine.contents() is None


def test_numbers_of_every_size_come_back(server: Any, tmp_path: Path) -> None:
    payload = [{"text": "a", "big": 10**30, "float": 1e300, "tiny": 5e-324, "zero": -0.0, "inside": PAYLOADS[0]}]
    index = index_vectors(["a"], numpy.eye(1, 32, dtype=numpy.float32), SPACE, tmp_path / "i", payload=payload)
    push_index(index, f"{server.get_uri()}#numbers")
    (found,) = Searcher.open(f"{server.get_uri()}#numbers").search(numpy.eye(1, 32), 1)
    assert repr(list(found.payload[0].items())[:5]) == repr(list(payload[0].items())[:5])
