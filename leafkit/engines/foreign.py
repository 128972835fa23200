"""Read texts and vectors from tables and collections that leafkit did not write: nothing in them is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.engines.milvus import LITE, MilvusEngine
from leafkit.engines.postgresql import connection_parameters
from leafkit.engines.qdrant import QdrantEngine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, LeafkitError
from leafkit.extras import import_optional

_PARTS = ("id", "text", "title", "vector")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: id, text and title as they are there, and the vector, a sequence of numbers; None for what is null."""

    id: Any
    text: Any
    title: Any
    vector: Any


def _postgresql(url: EngineUrl, timeout: float, columns: Mapping[str, str], size: int) -> Iterator[Sequence[Row]]:
    """Read a table, view or materialised view through a cursor. Vectors may be of pgvector's types or arrays."""
    psycopg: Any = import_optional("psycopg")
    sql: Any = import_optional("psycopg.sql")
    with _explained(url), psycopg.connect(**connection_parameters(url, timeout)) as connection:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        named = {part: sql.Identifier(columns[part]) if part in columns else sql.NULL for part in _PARTS}
        # Without the name of the table, the order would be that of the id as a text, for which no index exists.
        select = sql.SQL(
            "SELECT {id}::text, {text}::text, {title}::text, {vector}::real[] FROM {table} AS source "
            "ORDER BY source.{order}"
        )
        select = select.format(
            table=sql.Identifier(*url.name.split(".")),
            order=sql.Identifier(columns.get("id", columns["text"])),
            **named,
        )
        with connection.cursor(name="leafkit", binary=True) as cursor:
            cursor.itersize = size
            cursor.execute(select)
            while page := cursor.fetchmany(size):
                yield [Row(*row) for row in page]


def _lancedb(url: EngineUrl, timeout: float, columns: Mapping[str, str], size: int) -> Iterator[Sequence[Row]]:
    """Scan a table."""
    lancedb: Any = import_optional("lancedb")
    if "://" not in url.place:
        _need(Path(url.place) / f"{url.name}.lance", url)
    with _explained(url):
        table = lancedb.connect(url.place).open_table(url.name)
        for batch in table.search().select(list(columns.values())).limit(None).to_batches(size):
            empty = [None] * batch.num_rows
            parts = [batch.column(columns[part]).to_pylist() if part in columns else empty for part in _PARTS]
            yield [Row(*row) for row in zip(*parts, strict=True)]


def _milvus(url: EngineUrl, timeout: float, columns: Mapping[str, str], size: int) -> Iterator[Sequence[Row]]:
    """Page through a collection."""
    if url.place.endswith(LITE):
        _need(Path(url.place), url)
    with MilvusEngine(url, timeout) as engine:
        for page in engine.pages(list(columns.values()), size):
            yield [Row(*(row.get(columns[part]) if part in columns else None for part in _PARTS)) for row in page]


def _qdrant(url: EngineUrl, timeout: float, columns: Mapping[str, str], size: int) -> Iterator[Sequence[Row]]:
    """Scroll through a collection. The name of the vector matters only if the vectors of the points have names."""
    keys = [columns[part] for part in ("id", "text", "title") if part in columns]
    if url.place.startswith("/"):
        _need(Path(url.place), url)
    with QdrantEngine(url, timeout) as engine:
        for points in engine.points(size, keys, vectors=True):
            yield [_of_point(point, columns) for point in points]


def _of_point(point: Any, columns: Mapping[str, str]) -> Row:
    payload, vector = point.payload or {}, point.vector
    name = payload.get(columns["id"]) if "id" in columns else point.id
    vector = vector.get(columns["vector"]) if isinstance(vector, Mapping) else vector
    return Row(name, payload.get(columns["text"]), payload.get(columns.get("title")), vector)


def _need(path: Path, url: EngineUrl) -> None:
    """Raise `EngineError` unless ``path`` exists: the clients of embedded engines would create it."""
    if not path.exists():
        raise EngineError(f"{url} does not exist: there is no {path}. Check the address.")


Reader = Callable[[EngineUrl, float, Mapping[str, str], int], Iterator[Sequence[Row]]]
READERS: dict[str, Reader] = {"postgresql": _postgresql, "qdrant": _qdrant, "lancedb": _lancedb, "milvus": _milvus}


@contextmanager
def _explained(url: EngineUrl) -> Iterator[None]:
    """Turn the errors of a client into `EngineError` with their first line and without a password."""
    try:
        yield
    except (LeafkitError, GeneratorExit):
        raise
    except Exception as error:
        line = url.clean((str(error).strip() or type(error).__name__).splitlines()[0])
        raise EngineError(f"{url}: {line}. Check the address and the names of the columns.") from None
