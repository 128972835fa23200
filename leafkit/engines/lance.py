"""LanceDB as an engine: one table in a folder or on an object store, opened in this process.

The columns of the table are ``id``, ``vector``, ``payload``, ``digest`` and typed ones (`leafkit.engines.columns`). The
record is in the metadata of the column ``id``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy

from leafkit.engines.columns import BOOLEAN, FLOAT, INTEGER, TEXT, TEXTS, Language, by_column, expression, parts_of
from leafkit.engines.contents import Contents, read_contents
from leafkit.engines.engine import Engine, Found, Rows
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, LeafkitError, OptionError
from leafkit.extras import import_optional
from leafkit.filters.conditions import Condition
from leafkit.types import Float32

RECORD = "leafkit"  # the key of the record
INDEXED = 100_000  # rows from which a search uses an index; below, all rows are scored
_OWN = ("id", "vector", "payload", "digest")
_DTYPES = {"float32": numpy.float32, "float16": numpy.float16}
_CANDIDATES = 10  # that the index proposes for each hit, to be scored exactly
_NAME = r"[\w.-]{1,200}"


def _quoted(value: Any) -> str:
    """Return a literal of SQL. Inside a text only the quote ends it, and two of them stand for one."""
    if isinstance(value, str):
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    return repr(value).lower()


SQL = Language(
    present=lambda column: f"{column} IS NOT NULL",
    literal=_quoted,
    contains=lambda column, literals: f"array_has_any({column}, [{', '.join(literals)}])",
    equal="=",
)


class LanceEngine(Engine):
    """A table of a LanceDB database. It is exact below 100,000 rows."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "float16")

    def __init__(self, url: EngineUrl, timeout: float) -> None:
        """Remember the database of ``url``, a folder or an address such as ``s3://bucket/folder``."""
        self._lancedb: Any = import_optional("lancedb")
        self._arrow: Any = import_optional("pyarrow")
        self._url, self._limit = url, timedelta(seconds=timeout)
        if not re.fullmatch(_NAME, url.name, flags=re.ASCII):
            raise OptionError(
                f"{url.name!r:.100} is no name of a LanceDB table. Use letters, digits, hyphens, points and "
                "underscores."
            )
        if not url.place:
            raise OptionError(f"{url} names no folder. Write lancedb://FOLDER#TABLE.")
        self._opened: Any = None
        self._known_contents: Contents | None = None

    def contents(self) -> Contents | None:
        """Read the metadata of the column ``id``."""
        table = self._find()
        if table is None:
            return None
        schema = table.schema
        own = (schema.field("id").metadata or {}) if "id" in schema.names else {}
        text = own.get(RECORD.encode())
        self._known_contents = read_contents(
            text and text.decode("utf-8", "replace"), where=f"the table {self._url}", precisions=self.precisions
        )
        return self._known_contents

    def create(self, contents: Contents) -> None:
        """Create the table with its record, in one step."""
        arrow = self._arrow
        element = arrow.float16() if contents.precision == "float16" else arrow.float32()
        fields = [
            arrow.field("id", arrow.string(), nullable=False, metadata={RECORD: contents.dump()}),
            arrow.field("vector", arrow.list_(element, contents.dim)),
            arrow.field("payload", arrow.string()),
            arrow.field("digest", arrow.string()),
            *self._fields(contents),
        ]
        with self._explained():
            database = self._lancedb.connect(self._url.place)
            self._opened = database.create_table(self._url.name, schema=arrow.schema(fields))
        self._known_contents = contents

    def record(self, contents: Contents) -> None:
        """Add columns that are new, and replace the record."""
        table = self._table()
        new = [field for field in self._fields(contents) if field.name not in table.schema.names]
        with self._explained():
            if new:
                table.add_columns(new)
            table.update_field_metadata({"path": "id", "metadata": {RECORD: contents.dump()}})
        self._known_contents = contents

    def digests(self, ids: Sequence[str]) -> list[str | None]:
        """Look the ids up."""
        if not ids:
            return []
        with self._explained():
            search = self._table().search().where(self._among(ids)).select(["id", "digest"]).limit(None)
            found = search.to_arrow(timeout=self._limit)
        known = dict(zip(found["id"].to_pylist(), found["digest"].to_pylist()))
        return [known.get(name) for name in ids]

    def write(self, rows: Rows) -> None:
        """Merge the rows by their ids, in one version of the table."""
        contents, arrow = self._contents(), self._arrow
        table = self._table()
        flat = arrow.array(rows.vectors.astype(_DTYPES[contents.precision]).ravel())
        columns = {
            "id": rows.ids,
            "vector": arrow.FixedSizeListArray.from_arrays(flat, contents.dim),
            "payload": rows.payloads,
            "digest": rows.digests,
            **by_column([name for name in table.schema.names if name not in _OWN], rows.fields),
        }
        with self._explained():
            data = arrow.table(columns, schema=table.schema)
            merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(data)

    def remove(self, ids: Sequence[str]) -> None:
        """Delete the rows with these ids."""
        if ids:
            with self._explained():
                self._table().delete(self._among(ids))

    def finish(self) -> None:
        """Join the pieces that were written, and index ids and, of a large table, vectors."""
        table = self._table()
        index: Any = import_optional("lancedb.index")
        with self._explained():
            table.create_index("id", config=index.BTree(), replace=True)
            if table.count_rows() >= INDEXED:
                table.create_index("vector", config=index.IvfHnswSq(distance_type="dot"), replace=True)
            table.optimize()

    def count(self) -> int:
        """Return the number of rows."""
        with self._explained():
            return int(self._table().count_rows())

    def search(self, vectors: Float32, k: int, where: Condition | None = None) -> list[Found]:
        """Search the table with the filter first; all rows are scored if an index finds too few."""
        condition = None if where is None else expression(where, self._contents().schema, SQL)
        table = self._table()
        with self._explained():
            indexed = any(one.columns == ["vector"] for one in table.list_indices())
            return [self._nearest(table, vector, k, condition, indexed) for vector in vectors]

    def read(self, size: int) -> Iterator[Rows]:
        """Scan the table."""
        dim = self._contents().dim
        for batch in self._scan(["id", "vector", "payload"], size):
            flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
            vectors = flat.astype(numpy.float32).reshape(-1, dim)
            yield Rows(batch.column("id").to_pylist(), vectors, batch.column("payload").to_pylist(), [], [])

    def ids(self, size: int) -> Iterator[list[str]]:
        """Scan the ids of the version that the table has now."""
        return (batch.column("id").to_pylist() for batch in self._scan(["id"], size))

    def close(self) -> None:
        """Forget the table; nothing stays open."""
        self._opened = None

    def _find(self) -> Any:
        """Return the open table, None if there is none. A folder is not made for that."""
        if self._opened is None:
            place = self._url.place
            if "://" not in place and not (Path(place) / f"{self._url.name}.lance").is_dir():
                return None
            try:
                with self._explained():
                    self._opened = self._lancedb.connect(place).open_table(self._url.name)
            except EngineError as error:
                if "was not found" in str(error):
                    return None
                raise
        return self._opened

    def _table(self) -> Any:
        table = self._find()
        if table is None:
            raise EngineError(f"the table {self._url} does not exist. Write one with: leafkit push INDEX ADDRESS")
        return table

    def _contents(self) -> Contents:
        contents = self._known_contents or self.contents()
        if contents is None:
            raise EngineError(f"the table {self._url} does not exist. Write one with: leafkit push INDEX ADDRESS")
        return contents

    def _fields(self, contents: Contents) -> list[Any]:
        arrow = self._arrow
        types = {
            INTEGER: arrow.int64(),
            FLOAT: arrow.float64(),
            BOOLEAN: arrow.bool_(),
            TEXT: arrow.string(),
            TEXTS: arrow.list_(arrow.string()),
        }
        return [arrow.field(name, types[holds]) for name, holds in parts_of(contents.schema).items()]

    def _among(self, ids: Sequence[str]) -> str:
        return f"id IN ({', '.join(map(_quoted, ids))})"

    def _scan(self, columns: list[str], size: int) -> Iterator[Any]:
        with self._explained():
            for batch in self._table().search().select(columns).limit(None).to_batches(size):
                self._check_whole(batch)
                yield batch

    def _check_whole(self, rows: Any) -> None:
        """Raise `EngineError` if a column of ``rows`` has no value somewhere."""
        if any(column.null_count for column in rows.columns):
            raise EngineError(
                f"{self._url} has a row without an id, a vector or a payload, which leafkit did not write. Remove it."
            )

    def _nearest(self, table: Any, vector: Any, k: int, condition: str | None, indexed: bool) -> Found:
        def run(use_index: bool) -> Any:
            search = table.search(vector, vector_column_name="vector").distance_type("dot").limit(k)
            search = search.select(["id", "payload", "_distance"])
            search = search.refine_factor(_CANDIDATES) if use_index else search.bypass_vector_index()
            search = search if condition is None else search.where(condition, prefilter=True)
            return search.to_arrow(timeout=self._limit)

        found = run(indexed)
        if indexed and len(found) < k:
            found = run(False)
        self._check_whole(found)
        scores = [1 - distance for distance in found["_distance"].to_pylist()]
        return Found(found["id"].to_pylist(), scores, found["payload"].to_pylist())

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of LanceDB, which have many types, into `EngineError` with their first line."""
        try:
            yield
        except LeafkitError:
            raise
        except Exception as error:
            line = self._url.clean((str(error).strip() or type(error).__name__).splitlines()[0])
            raise EngineError(
                f"{self._url}: {line}. Check the address, and run the same command again: it goes on there."
            ) from None
