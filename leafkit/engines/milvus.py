"""Milvus as an engine: one collection, on a server or in a file that Milvus Lite opens in this process.

The fields of the collection are ``id``, ``embedding``, ``payload`` (in pieces, because a text of Milvus has at most
65,535 bytes), ``digest`` and typed ones (`leafkit.engines.columns`). The record is a property of the collection.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import unquote, urlsplit

import numpy

from leafkit.engines.columns import BOOLEAN, FLOAT, INTEGER, TEXT, TEXTS, Language, by_column, expression, parts_of
from leafkit.engines.contents import Contents, read_contents
from leafkit.engines.engine import Engine, Found, Rows
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, LeafkitError, OptionError
from leafkit.extras import import_optional
from leafkit.filters.conditions import Condition
from leafkit.types import Float32

Result = TypeVar("Result")

RECORD = "leafkit"  # the property that holds the record
LITE = ".db"  # the suffix of a file of Milvus Lite
_OWN = ("id", "embedding", "payload", "digest")
_LONGEST = 65_535  # bytes of a text
_PIECE = 60_000  # characters of one piece of a payload, which is ASCII
_MOST_ELEMENTS = 4_096  # of an array
_MOST_FIELDS = 64
_LONGEST_VALUE = 1_024  # bytes of a text that filters compare, which has at most 256 characters
_MESSAGE = 16 << 20  # bytes of vectors and payloads that are sent at a time; a server takes 64 MiB
_PORT = 19530
# They print the tracebacks of errors that come as exceptions as well, and of calls that Milvus Lite does not have.
_LOGGERS = ("pymilvus", "grpc._server")

EXPRESSIONS = Language(
    present=lambda column: f"{column} IS NOT NULL",
    # Escapes of JSON are those of Milvus, apart from halves of surrogate pairs, which are written as they are.
    literal=lambda value: json.dumps(value, ensure_ascii=False),
    contains=lambda column, literals: f"array_contains_any({column}, [{', '.join(literals)}])",
    equal="==",
)


class MilvusEngine(Engine):
    """A collection of Milvus 2.6 or newer, or of Milvus Lite."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "float16")

    def __init__(self, url: EngineUrl, timeout: float) -> None:
        """Connect to the server of ``url``; a file is opened when it is first used."""
        self._pymilvus: Any = import_optional("pymilvus")
        self._url, self._timeout = url, timeout
        if not re.fullmatch(r"[A-Za-z_]\w{0,254}", url.name, flags=re.ASCII):
            raise OptionError(
                f"{url.name!r:.100} is no name of a Milvus collection. Use letters, digits and underscores, and no "
                "digit first."
            )
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._lock = threading.Lock()
        self._client: Any = None
        self._known_contents: Contents | None = None
        if not self._is_file:
            self._run(lambda client: None)

    def contents(self) -> Contents | None:
        """Read the property of the collection."""
        if self._is_file and not Path(self._url.place).exists():
            return None

        def read(client: Any) -> Any:
            if not client.has_collection(self._url.name, timeout=self._timeout):
                return None
            return dict(client.describe_collection(self._url.name, timeout=self._timeout).get("properties") or {})

        found = self._run(read)
        if found is None:
            return None
        self._known_contents = read_contents(
            found.get(RECORD), where=f"the collection {self._url}", precisions=self.precisions
        )
        return self._known_contents

    def create(self, contents: Contents) -> None:
        """Create the collection with its record and its index, in one call."""
        kinds = self._pymilvus.DataType
        typed = parts_of(contents.schema)
        self._check_fields(len(typed))
        vector = kinds.FLOAT16_VECTOR if contents.precision == "float16" else kinds.FLOAT_VECTOR

        def run(client: Any) -> None:
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=_LONGEST)
            schema.add_field("embedding", vector, dim=contents.dim)
            pieces = {"element_type": kinds.VARCHAR, "max_capacity": _MOST_ELEMENTS, "max_length": _LONGEST}
            schema.add_field("payload", kinds.ARRAY, **pieces)
            schema.add_field("digest", kinds.VARCHAR, max_length=64)
            for name, holds in typed.items():
                kind, options = self._type(holds)
                schema.add_field(name, kind, nullable=True, **options)
            index = client.prepare_index_params()
            # The graph of Milvus Lite loses hits under a narrow filter.
            kind = "FLAT" if self._is_file else "AUTOINDEX"
            index.add_index("embedding", index_type=kind, metric_type="IP")
            client.create_collection(
                self._url.name,
                schema=schema,
                index_params=index,
                consistency_level="Strong",
                properties={RECORD: contents.dump()},
                timeout=self._timeout,
            )

        self._run(run)
        self._known_contents = contents

    def record(self, contents: Contents) -> None:
        """Add fields that are new, and replace the record."""
        typed = parts_of(contents.schema)

        def run(client: Any) -> None:
            known = {
                field["name"] for field in client.describe_collection(self._url.name, timeout=self._timeout)["fields"]
            }
            new = [name for name in typed if name not in known]
            self._check_fields(len(known) + len(new) - len(_OWN))
            if new and self._is_file:
                raise EngineError(
                    f"the documents have new columns, and Milvus Lite cannot add fields to {self._url}. Push into "
                    "another collection."
                )
            for name in new:
                kind, options = self._type(typed[name])
                client.add_collection_field(self._url.name, name, kind, nullable=True, timeout=self._timeout, **options)
            client.alter_collection_properties(
                self._url.name, properties={RECORD: contents.dump()}, timeout=self._timeout
            )

        self._run(run)
        self._known_contents = contents

    def digests(self, ids: Sequence[str]) -> list[str | None]:
        """Look the ids up."""
        known = {}
        fields = ["id", "digest"]
        for some in _among(ids):
            found = self._query(some, fields)
            known |= {row["id"]: row["digest"] for row in found}
        return [known.get(name) for name in ids]

    def write(self, rows: Rows) -> None:
        """Write the rows, in several messages if they are large.

        If the server goes away between two messages, the rows of the first have their digests, and a later call
        writes the same.
        """
        names = list(parts_of(self._contents().schema))
        dtype = numpy.float16 if self._contents().precision == "float16" else numpy.float32
        typed = by_column(names, rows.fields)
        message: list[dict[str, Any]] = []
        size = 0
        for place, (name, vector, payload, digest) in enumerate(
            zip(rows.ids, rows.vectors.astype(dtype), rows.payloads, rows.digests, strict=True)
        ):
            pieces = [payload[start : start + _PIECE] for start in range(0, len(payload), _PIECE)]
            row = {"id": name, "embedding": vector, "payload": pieces, "digest": digest}
            message.append({**row, **{column: typed[column][place] for column in names}})
            size += vector.nbytes + len(payload)
            if size > _MESSAGE:
                self._send(message)
                message, size = [], 0
        self._send(message)

    def remove(self, ids: Sequence[str]) -> None:
        """Delete the rows with these ids."""
        for some in _among(ids):
            self._run(lambda client, some=some: client.delete(self._url.name, filter=some, timeout=self._timeout))

    def finish(self) -> None:
        """Close the growing segment, so that the server indexes it."""
        self._run(lambda client: client.flush(self._url.name, timeout=None))

    def count(self) -> int:
        """Count the rows."""
        found = self._query("", ["count(*)"])
        return int(found[0]["count(*)"])

    def search(self, vectors: Float32, k: int, where: Condition | None = None) -> list[Found]:
        """Search the index of the server, which takes the filter into account."""
        contents = self._contents()
        condition = "" if where is None else expression(where, contents.schema, EXPRESSIONS)
        dtype = numpy.float16 if contents.precision == "float16" else numpy.float32
        queries = list(numpy.ascontiguousarray(vectors, dtype=dtype))
        if not queries:
            return []
        found = self._run(
            lambda client: client.search(
                self._url.name,
                data=queries,
                anns_field="embedding",
                filter=condition,
                limit=k,
                output_fields=["payload"],
                search_params={"metric_type": "IP"},
                consistency_level="Strong",
                timeout=self._timeout,
            )
        )
        return [
            Found(
                [hit["id"] for hit in hits],
                [float(hit["distance"]) for hit in hits],
                ["".join(hit["entity"]["payload"]) for hit in hits],
            )
            for hits in found
        ]

    def read(self, size: int) -> Iterator[Rows]:
        """Page through the rows by their ids."""
        dtype = numpy.float16 if self._contents().precision == "float16" else numpy.float32
        for page in self.pages(["id", "embedding", "payload"], size):
            vectors = numpy.array([_array(row["embedding"], dtype) for row in page], dtype=numpy.float32)
            yield Rows([row["id"] for row in page], vectors, ["".join(row["payload"]) for row in page], [], [])

    def ids(self, size: int) -> Iterator[list[str]]:
        """Page through the ids."""
        return ([row["id"] for row in page] for page in self.pages(["id"], size))

    def pages(self, fields: list[str], size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield ``fields`` of all rows, of any collection, ``size`` rows at a time in the order of their ids."""
        pages = self._run(
            lambda client: client.query_iterator(
                self._url.name,
                batch_size=size,
                output_fields=fields,
                consistency_level="Strong",
                timeout=self._timeout,
            )
        )
        while page := self._run(lambda client: pages.next()):
            yield list(page)
        pages.close()

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _is_file(self) -> bool:
        return self._url.place.endswith(LITE)

    def _contents(self) -> Contents:
        contents = self._known_contents or self.contents()
        if contents is None:
            raise EngineError(f"the collection {self._url} does not exist. Write one with: leafkit push INDEX ADDRESS")
        return contents

    def _check_fields(self, typed: int) -> None:
        if len(_OWN) + typed > _MOST_FIELDS:
            raise OptionError(
                f"the columns of the documents take {typed} fields of a collection, and Milvus has {_MOST_FIELDS} with "
                f"{len(_OWN)} of its own. Index the documents with fewer columns."
            )

    def _type(self, holds: str) -> tuple[Any, dict[str, Any]]:
        kinds = self._pymilvus.DataType
        text = {"max_length": _LONGEST_VALUE}
        array = {"element_type": kinds.VARCHAR, "max_capacity": _MOST_ELEMENTS, **text}
        return {
            INTEGER: (kinds.INT64, {}),
            FLOAT: (kinds.DOUBLE, {}),
            BOOLEAN: (kinds.BOOL, {}),
            TEXT: (kinds.VARCHAR, text),
            TEXTS: (kinds.ARRAY, array),
        }[holds]

    def _query(self, condition: str, fields: list[str]) -> list[dict[str, Any]]:
        """Return ``fields`` of the rows that fulfil ``condition``."""
        return self._run(
            lambda client: list(
                client.query(
                    self._url.name,
                    filter=condition,
                    output_fields=fields,
                    consistency_level="Strong",
                    timeout=self._timeout,
                )
            )
        )

    def _send(self, message: list[dict[str, Any]]) -> None:
        if message:
            self._run(lambda client: client.upsert(self._url.name, message, timeout=self._timeout))

    def _connect(self) -> Any:
        place = self._url.place
        if self._is_file:
            import_optional("milvus_lite")
            Path(place).resolve().parent.mkdir(parents=True, exist_ok=True)
            return self._pymilvus.MilvusClient(place, timeout=self._timeout)
        parts = urlsplit(f"//{place}")
        secure = self._url.address.lower().startswith("milvuss:")
        token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        return self._pymilvus.MilvusClient(
            f"{'https' if secure else 'http'}://{parts.hostname}:{parts.port or _PORT}",
            token=token,
            db_name=parts.path.strip("/"),
            timeout=self._timeout,
        )

    def _load(self, client: Any) -> None:
        """Load the collection into the memory of the server, or of this process, where searches need it."""
        name, timeout = self._url.name, self._timeout
        if not client.has_collection(name, timeout=timeout):
            return
        if "Loaded" not in str(client.get_load_state(name, timeout=timeout).get("state")):
            client.load_collection(name, timeout=timeout)

    def _run(self, work: Callable[[Any], Result]) -> Result:
        """Return ``work(client)``, connecting first if necessary. One thread at a time."""
        with self._lock:
            try:
                if self._client is None:
                    self._client = self._connect()
                    self._load(self._client)
                return work(self._client)
            except LeafkitError:
                raise
            except Exception as error:  # the client raises its own type, those of gRPC, and ValueError
                said = str(getattr(error, "message", "") or error).strip() or type(error).__name__
                line = self._url.clean(said.splitlines()[0])
                raise EngineError(
                    f"{self._url}: {line}. Check the address and that the server runs, and run the same command "
                    "again: it goes on there."
                ) from None


def _among(ids: Sequence[str]) -> Iterator[str]:
    """Yield conditions that rows have some of ``ids``. The client's own argument ``ids`` does not escape quotes."""
    for start in range(0, len(ids), 1_000):
        yield f"id IN [{', '.join(map(EXPRESSIONS.literal, ids[start : start + 1_000]))}]"


def _array(vector: Any, dtype: Any) -> Any:
    """Return a vector as the client gives it back: a list of floats, or the bytes of a float16 vector."""
    if isinstance(vector, list) and len(vector) == 1 and isinstance(vector[0], bytes):
        vector = vector[0]
    return numpy.frombuffer(vector, dtype=dtype) if isinstance(vector, bytes) else numpy.asarray(vector)
