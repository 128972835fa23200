"""PostgreSQL with pgvector as an engine: one table, whose comment is the record.

The columns of the table are ``id``, ``embedding`` (``vector`` or ``halfvec``), ``fields`` (jsonb, the values that
filters compare), ``payload`` (json) and ``digest``. Names are quoted by psycopg, and values are parameters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, ClassVar, TypeVar

import numpy

from leafkit.engines.contents import Contents, read_contents
from leafkit.engines.engine import Engine, Found, Rows
from leafkit.engines.postgresql_filter import to_sql
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, OptionError
from leafkit.extras import import_optional
from leafkit.files.json_file import standard_json
from leafkit.filters.conditions import Condition
from leafkit.types import Float32

Result = TypeVar("Result")

_OLDEST = (0, 8)  # pgvector with iterative scans
_LONGEST_NAME = 63  # bytes
# The type of the column for each precision, and the most components that its HNSW index takes.
_TYPES = {"float32": ("vector", 2_000), "float16": ("halfvec", 4_000), "binary": ("halfvec", 16_000)}
_OVERSAMPLE = 20  # candidates by sign bits for each hit, as in an index of precision binary
_LEAST_DEPTH, _MOST_DEPTH = 200, 1_000  # hnsw.ef_search
# With a filter that allows at most so many rows, these are scored. A graph search loses 7 of 100 hits of filters that
# allow 1 to 5 % of 20,000 rows, and takes no less time.
_SCANNED = 5_000
_SAMPLED = 2_000  # rows from which the share of allowed ones is estimated

# A server that vanishes is noticed within a minute also while nothing is sent.
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}


class PostgresEngine(Engine):
    """A table of a PostgreSQL database, with pgvector 0.8 or newer. It reconnects once if the connection is lost."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "float16", "binary")

    def __init__(self, url: EngineUrl, timeout: float) -> None:
        """Connect to the database of ``url``; the name of the table may have a schema before a point."""
        self._psycopg: Any = import_optional("psycopg")
        self._sql: Any = import_optional("psycopg.sql")
        self._vector: Any = import_optional("pgvector")
        self._url, self._timeout = url, timeout
        parts = url.name.split(".")
        if len(parts) > 2 or not all(0 < len(part.encode("utf-8", "replace")) <= _LONGEST_NAME for part in parts):
            raise OptionError(f"{url.name!r:.100} is no name of a table. Write TABLE or SCHEMA.TABLE after the #.")
        self._table = self._sql.Identifier(*parts)
        # Tables whose names begin alike must not share the name of an index.
        start, digest = parts[-1].encode()[:30].decode(errors="ignore"), sha256(parts[-1].encode()).hexdigest()
        self._index = self._sql.Identifier(f"{start}_{digest[:8]}_leafkit_hnsw")
        self._lock = threading.Lock()
        self._connection: Any = None
        self._contents: Contents | None = None
        self._run(lambda connection: None)

    def contents(self) -> Contents | None:
        """Read the comment of the table."""

        def read(connection: Any) -> Contents | None:
            name = self._table.as_string(connection)
            select = (
                "SELECT obj_description(c.oid, 'pg_class'), c.relkind::text FROM pg_class c WHERE oid = to_regclass(%s)"
            )
            found = connection.execute(select, [name]).fetchone()
            if found is None:
                return None
            comment, kind = found
            return read_contents(
                comment if kind in ("r", "p") else None, where=f"the table {self._url}", precisions=self.precisions
            )

        self._contents = self._run(read)
        return self._contents

    def create(self, contents: Contents) -> None:
        """Create the table with its comment, in one transaction, and the extension vector if it is missing."""
        kind, most = _TYPES[contents.precision]
        if contents.dim > most:
            raise OptionError(
                f"pgvector indexes {kind} up to {most:,} components, and the vectors have {contents.dim:,}. "
                f"{'Use --precision float16 or binary' if kind == 'vector' else 'Use --precision binary'}, or an index "
                "with a smaller dim."
            )
        create = self._sql.SQL(
            'CREATE TABLE {} (id text COLLATE "C" PRIMARY KEY, embedding {}({}) NOT NULL, fields jsonb NOT NULL, '
            "payload json NOT NULL, digest text NOT NULL)"
        ).format(self._table, self._sql.SQL(kind), self._sql.Literal(contents.dim))

        def run(connection: Any) -> None:
            self._need_extension(connection)
            with connection.transaction():
                connection.execute(create)
                self._comment(connection, contents)

        self._run(run)
        self._contents = contents

    def record(self, contents: Contents) -> None:
        """Replace the comment of the table."""
        self._run(lambda connection: self._comment(connection, contents))
        self._contents = contents

    def digests(self, ids: Sequence[str]) -> list[str | None]:
        """Look the ids up in the primary key."""
        select = self._sql.SQL("SELECT id, digest FROM {} WHERE id = ANY(%s)").format(self._table)
        known = dict(self._run(lambda connection: connection.execute(select, [list(ids)]).fetchall()))
        return [known.get(name) for name in ids]

    def write(self, rows: Rows) -> None:
        """Delete rows of the same ids and copy the new ones in binary form, in one transaction."""
        kind = _TYPES[self._known().precision][0]
        remove = self._sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._table)
        copy = self._sql.SQL("COPY {} (id, embedding, fields, payload, digest) FROM STDIN WITH (FORMAT BINARY)")
        json = self._psycopg.types.json
        vectors = map(self._vector.Vector if kind == "vector" else self._vector.HalfVector, rows.vectors)
        fields = (json.Jsonb(row, dumps=standard_json) for row in rows.fields)
        payloads = (json.Json(row, dumps=str) for row in rows.payloads)
        table = list(zip(rows.ids, vectors, fields, payloads, rows.digests, strict=True))

        def run(connection: Any) -> None:
            with connection.transaction():
                connection.execute(remove, [rows.ids])
                with connection.cursor().copy(copy.format(self._table)) as copied:
                    copied.set_types(["text", kind, "jsonb", "json", "text"])
                    for row in table:
                        copied.write_row(row)

        self._run(run)

    def remove(self, ids: Sequence[str]) -> None:
        """Delete the rows with these ids."""
        statement = self._sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._table)
        self._run(lambda connection: connection.execute(statement, [list(ids)]))

    def finish(self) -> None:
        """Create the HNSW index if it does not exist, and collect statistics for the planner."""
        contents = self._known()
        embedding = {
            "float32": "(embedding vector_ip_ops)",
            "float16": "(embedding halfvec_ip_ops)",
            "binary": "((binary_quantize(embedding)::bit({})) bit_hamming_ops)",
        }[contents.precision]
        index = self._sql.SQL(f"CREATE INDEX IF NOT EXISTS {{}} ON {{}} USING hnsw {embedding}")
        width = [self._sql.Literal(contents.dim)] if contents.precision == "binary" else []

        def run(connection: Any) -> None:
            with self._without_limit(connection):
                connection.execute(index.format(self._index, self._table, *width))
                connection.execute(self._sql.SQL("ANALYZE {}").format(self._table))

        self._run(run)

    def count(self) -> int:
        """Count the rows, which reads the whole table."""
        select = self._sql.SQL("SELECT count(*) FROM {}").format(self._table)
        return int(self._run(lambda connection: connection.execute(select).fetchone())[0])

    def search(self, vectors: Float32, k: int, where: Condition | None = None) -> list[Found]:
        """Search the HNSW index, which goes on until enough rows fulfil the filter; if it stops before, the table.

        With a filter that allows few rows, only the table. Sign bits choose 20 x k candidates, which are ordered by
        their cosines.
        """
        contents = self._known()
        condition, parameters = ("TRUE", []) if where is None else to_sql(where, contents.schema)

        def run(connection: Any) -> list[Found]:
            share = None if where is None else self._share(connection, condition, parameters)
            depth = min(max(_LEAST_DEPTH, round(2 * k / (share or 1))), _MOST_DEPTH)
            connection.execute(self._sql.SQL("SET hnsw.ef_search = {}").format(self._sql.Literal(depth)))
            scan = share == 0
            return [self._nearest(connection, vector, k, condition, parameters, scan=scan) for vector in vectors]

        return self._run(run)

    def _share(self, connection: Any, condition: str, parameters: list[Any]) -> float:
        """Estimate from a sample the share of rows that fulfil ``condition``; 0 if all of these are to be scored."""
        rows = self._sql.SQL("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)")
        total = connection.execute(rows, [self._table.as_string(connection)]).fetchone()[0]
        if total <= 0:  # a table that no push has finished, and so without a graph
            return 0.0
        sample = self._sql.SQL(
            f"SELECT count(*), count(*) FILTER (WHERE {condition}) FROM {{}} TABLESAMPLE SYSTEM (%s)"
        )
        percent = min(100.0, 100 * _SAMPLED / total)
        seen, allowed = connection.execute(sample.format(self._table), [*parameters, percent]).fetchone()
        share = allowed / seen if seen else 0.0
        return share if share * total > _SCANNED else 0.0

    def read(self, size: int) -> Iterator[Rows]:
        """Page through the primary key."""
        dim = self._known().dim
        for page in self._pages("id, embedding::vector, payload::text", size):
            vectors = numpy.empty((len(page), dim), dtype=numpy.float32)
            for place, (name, vector, _) in enumerate(page):
                array = _array(vector)
                if array.shape != (dim,):
                    problem = f"the vector of {name!r:.100} in {self._url} has {array.size} components; expected {dim}."
                    raise EngineError(f"{problem} Push the index again.")
                vectors[place] = array
            yield Rows([row[0] for row in page], vectors, [row[2] for row in page], [], [])

    def ids(self, size: int) -> Iterator[list[str]]:
        """Page through the primary key."""
        return ([row[0] for row in page] for page in self._pages("id", size))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _known(self) -> Contents:
        contents = self._contents or self.contents()
        if contents is None:
            raise EngineError(f"the table {self._url} does not exist. Write one with: leafkit push INDEX ADDRESS")
        return contents

    def _pages(self, columns: str, size: int) -> Iterator[list[Any]]:
        select = self._sql.SQL(f"SELECT {columns} FROM {{}} WHERE {{}} ORDER BY id LIMIT %s")
        after, parameters = self._sql.SQL("TRUE"), []
        while True:
            statement, given = select.format(self._table, after), [*parameters, size]
            page = self._run(lambda connection, s=statement, g=given: connection.execute(s, g, binary=True).fetchall())
            if not page:
                return
            yield page
            after, parameters = self._sql.SQL("id > %s"), [page[-1][0]]

    def _nearest(
        self, connection: Any, vector: Any, k: int, condition: str, parameters: list[Any], *, scan: bool
    ) -> Found:
        """Return the hits of one ``vector``; ``condition`` is constant SQL with ``parameters``.

        With ``scan``, or if the graph finds too few, all rows that fulfil the condition are scored.
        """
        contents, sql = self._known(), self._sql
        kind = _TYPES[contents.precision][0]
        query = (self._vector.Vector if kind == "vector" else self._vector.HalfVector)(vector)
        source, given = sql.SQL(f"{{}} WHERE {condition}").format(self._table), parameters
        nearest = sql.SQL("SELECT id, -(embedding <#> %s), payload::text FROM {} ORDER BY embedding <#> %s LIMIT %s")
        if contents.precision == "binary":
            inner = sql.SQL(
                f"(SELECT id, embedding, payload FROM {{}} WHERE {condition} ORDER BY binary_quantize(embedding)::bit"
                "({}) <~> binary_quantize(%s)::bit({}) LIMIT %s) AS candidates"
            )
            width = sql.Literal(contents.dim)
            candidates, among = inner.format(self._table, width, width), [*parameters, query, k * _OVERSAMPLE]
        else:
            candidates, among = source, given
        found = [] if scan else connection.execute(nearest.format(candidates), [query, *among, query, k]).fetchall()
        if len(found) < k:
            with connection.transaction():
                connection.execute("SET LOCAL enable_indexscan = off")
                found = connection.execute(nearest.format(source), [query, *given, query, k]).fetchall()
        return Found([row[0] for row in found], [row[1] for row in found], [row[2] for row in found])

    def _need_extension(self, connection: Any) -> None:
        """Create the extension vector if it is missing, and register its types."""
        encoding = connection.execute("SHOW server_encoding").fetchone()[0]
        if encoding != "UTF8":
            raise EngineError(f"the database of {self._url} stores {encoding}. Use a database of the encoding UTF8.")
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except self._psycopg.Error as error:
            raise EngineError(
                f"the database of {self._url} has no pgvector, and it cannot be added here ({self._said(error)}). "
                "Install pgvector, and let its administrator run: CREATE EXTENSION vector"
            ) from error
        self._register(connection)

    def _register(self, connection: Any) -> None:
        found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
        if found is None:
            return
        if tuple(int(part) for part in found[0].split(".")[:2]) < _OLDEST:
            raise EngineError(f"{self._url} has pgvector {found[0]}; expected 0.8 or newer. Update the extension.")
        import_optional("pgvector.psycopg").register_vector(connection)
        connection.execute("SET hnsw.iterative_scan = strict_order")

    def _comment(self, connection: Any, contents: Contents) -> None:
        comment = self._sql.SQL("COMMENT ON TABLE {} IS {}")
        connection.execute(comment.format(self._table, self._sql.Literal(contents.dump())))

    @contextmanager
    def _without_limit(self, connection: Any) -> Iterator[None]:
        connection.execute("SET statement_timeout = 0")
        yield
        self._limit(connection)

    def _limit(self, connection: Any) -> None:
        connection.execute(f"SET statement_timeout = {int(self._timeout * 1000)}")

    def _connect(self) -> Any:
        # Prepared statements do not get through a pool of connections.
        given = connection_parameters(self._url, self._timeout)
        connection = self._psycopg.connect(**given, autocommit=True, prepare_threshold=None)
        self._limit(connection)
        self._register(connection)
        return connection

    def _run(self, work: Callable[[Any], Result]) -> Result:
        """Return ``work(connection)``, on a new connection if the old one is lost. One thread at a time."""
        with self._lock:
            try:
                try:
                    return work(self._open())
                except self._psycopg.OperationalError:
                    if self._connection is None or not self._connection.broken:
                        raise
                    return work(self._open())
            except self._psycopg.Error as error:
                raise EngineError(f"{self._url}: {self._said(error)}. {self._advice(error)}") from None

    def _open(self) -> Any:
        if self._connection is None or self._connection.closed:
            self._connection = None
            self._connection = self._connect()
        return self._connection

    def _said(self, error: BaseException) -> str:
        """Return the first line of an error's message, without a password."""
        return self._url.clean((str(error).strip() or type(error).__name__).splitlines()[0])

    def _advice(self, error: BaseException) -> str:
        errors = self._psycopg.errors
        if isinstance(error, errors.QueryCanceled):
            return f"The limit is {self._timeout:g} seconds; give more with --timeout."
        if isinstance(error, errors.InsufficientPrivilege):
            return "Use a user that has this right."
        if isinstance(error, self._psycopg.OperationalError):
            return "Check the address and that the server runs, and run the same command again: it goes on there."
        return "Look into the server's log."


def connection_parameters(url: EngineUrl, timeout: float) -> dict[str, Any]:
    """Return the parameters of a connection to ``url``, which can neither be waited for nor be lost without an end."""
    given = import_optional("psycopg.conninfo").conninfo_to_dict(url.address)
    return {"connect_timeout": max(2, int(timeout)), "application_name": "leafkit", **_KEEPALIVE, **given}


def _array(vector: Any) -> Any:
    """Return what pgvector gives, which depends on its version, as an array."""
    return vector.to_numpy() if hasattr(vector, "to_numpy") else numpy.asarray(vector)
