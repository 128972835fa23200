"""Qdrant as an engine: one collection, whose metadata has the record.

A point has the payload ``id``, ``payload`` (the document's own, as JSON text), ``digest``, and the values that filters
compare under ``fields`` and ``wide``. Its own id is a UUID made of the document's id.
"""

from __future__ import annotations

import os
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy

from leafkit.engines.contents import Contents, read_contents
from leafkit.engines.engine import Engine, Found, Rows
from leafkit.engines.qdrant_filter import FIELDS, QdrantFilters, key_of, stored
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, LeafkitError, OptionError
from leafkit.extras import import_optional
from leafkit.filters.conditions import Condition
from leafkit.types import Float32

Result = TypeVar("Result")

API_KEY = "QDRANT_API_KEY"
_SHOWN = ["id", "payload"]
_RECORD = "leafkit"  # the key of the record in the metadata
_NAMESPACE = uuid.UUID("6f1b7d0a-0b64-5c55-9d0e-8f3f0a9f6a31")  # of the ids of points
_MOST_NUMBERS = 1 << 20  # in one request: as JSON some 12 MB, of at most 32
_MOST_TEXTS = 1 << 18
# hnsw_ef without and with a filter. Where a filter allows half of 20,000 rows, 128 finds 88 % of the true hits, 512
# finds 94 %, and 512 with ACORN (https://arxiv.org/abs/2403.04871), which looks beyond forbidden neighbours, 99 %.
_DEPTH, _FILTERED_DEPTH = 128, 512
# Candidates for each hit, which are ordered by their exact cosines.
_OVERSAMPLE = {"int8": 4.0, "binary": 20.0}
_INDEXES = {"integer": "INTEGER", "number": "FLOAT", "boolean": "BOOL", "text": "KEYWORD", "texts": "KEYWORD"}


class QdrantEngine(Engine):
    """A collection of a Qdrant server 1.16 or newer, or of a folder in the local mode of Qdrant's client."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "float16", "int8", "binary")

    def __init__(self, url: EngineUrl, timeout: float) -> None:
        """Connect to the server of ``url``; a folder (``qdrant:///folder#name``) is opened when it is first used."""
        self._library: Any = import_optional("qdrant_client")
        self._models: Any = import_optional("qdrant_client.models")
        self._url, self._timeout = url, timeout
        self._contents: Contents | None = None
        # The local mode is not made for several threads.
        self._lock: Any = threading.Lock()
        self._client: Any = None
        self._is_folder = url.place.startswith("/")
        if not self._is_folder:
            self._run(lambda: None)

    def contents(self) -> Contents | None:
        """Read the metadata of the collection."""
        name = self._url.name
        if self._is_folder and not Path(self._url.place).exists():
            return None

        def read() -> Contents | None:
            if not self._client.collection_exists(name):
                return None
            metadata = self._client.get_collection(name).config.metadata or {}
            return read_contents(metadata.get(_RECORD), where=f"the collection {self._url}", precisions=self.precisions)

        self._contents = self._run(read)
        return self._contents

    def create(self, contents: Contents) -> None:
        """Create the collection, with its metadata."""
        models = self._models
        quantization = {
            "int8": lambda: models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            ),
            "binary": lambda: models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
        }.get(contents.precision, lambda: None)
        vectors = models.VectorParams(
            size=contents.dim,
            distance=models.Distance.DOT,
            datatype=models.Datatype.FLOAT16 if contents.precision == "float16" else None,
            quantization_config=quantization(),
        )
        metadata = {_RECORD: contents.dump()}
        self._run(lambda: self._client.create_collection(self._url.name, vectors_config=vectors, metadata=metadata))
        try:
            self.contents()
        except EngineError as error:
            raise EngineError(
                f"{self._url} was created, but keeps no metadata, where the vector space is recorded. Delete it, and "
                "use Qdrant 1.16 or newer."
            ) from error

    def record(self, contents: Contents) -> None:
        """Replace the metadata of the collection."""
        metadata = {_RECORD: contents.dump()}
        self._run(lambda: self._client.update_collection(self._url.name, metadata=metadata))
        self._contents = contents

    def digests(self, ids: Sequence[str]) -> list[str | None]:
        """Look the points up."""
        points = [_point_id(name) for name in ids]
        found = self._run(lambda: self._client.retrieve(self._url.name, ids=points, with_payload=["digest"]))
        known = {str(one.id): (one.payload or {}).get("digest") for one in found}
        return [known.get(point) for point in points]

    def write(self, rows: Rows) -> None:
        """Upsert the points, in requests that are not too large."""
        points = [
            self._models.PointStruct(
                id=_point_id(name),
                vector=vector.tolist(),
                payload={"id": name, "payload": payload, "digest": digest, **stored(fields)},
            )
            for name, vector, payload, fields, digest in zip(
                rows.ids, rows.vectors, rows.payloads, rows.fields, rows.digests, strict=True
            )
        ]
        size = max(1, _MOST_NUMBERS // rows.vectors.shape[1])
        for start in range(0, len(points), size):
            some = points[start : start + size]
            self._run(lambda some=some: self._client.upsert(self._url.name, points=some, wait=True))

    def remove(self, ids: Sequence[str]) -> None:
        """Delete the points of these ids."""
        points = self._models.PointIdsList(points=[_point_id(name) for name in ids])
        self._run(lambda: self._client.delete(self._url.name, points_selector=points, wait=True))

    def finish(self) -> None:
        """Create an index for each column; the server builds those of the vectors by itself."""
        for column, kind in self._known().schema.types.items():
            key, schema = f"{FIELDS}.{key_of(column)}", getattr(self._models.PayloadSchemaType, _INDEXES[kind])
            self._run(
                lambda key=key, schema=schema: self._client.create_payload_index(
                    self._url.name, field_name=key, field_schema=schema, wait=True
                )
            )

    def count(self) -> int:
        """Count the points."""
        return int(self._run(lambda: self._client.count(self._url.name, exact=True)).count)

    def search(self, vectors: Float32, k: int, where: Condition | None = None) -> list[Found]:
        """Search all vectors in one request; quantised ones choose candidates that are scored exactly."""
        contents, models = self._known(), self._models
        filters = QdrantFilters(models, self._texts)
        chosen = None if where is None else filters.filter(where)
        oversample = _OVERSAMPLE.get(contents.precision)
        params = models.SearchParams(
            hnsw_ef=max(_DEPTH if chosen is None else _FILTERED_DEPTH, 2 * k),
            acorn=None if chosen is None else models.AcornSearchParams(enable=True, max_selectivity=1.0),
            quantization=oversample and models.QuantizationSearchParams(rescore=True, oversampling=oversample),
        )
        requests = [
            models.QueryRequest(query=vector.tolist(), filter=chosen, params=params, limit=k, with_payload=_SHOWN)
            for vector in vectors
        ]
        found = self._run(lambda: self._client.query_batch_points(self._url.name, requests=requests))
        return [self._found(one.points) for one in found]

    def read(self, size: int) -> Iterator[Rows]:
        """Scroll through the points in the order of their ids."""
        dim = self._known().dim
        for points in self.points(size, _SHOWN, vectors=True):
            vectors = numpy.empty((len(points), dim), dtype=numpy.float32)
            names, payloads = zip(*map(self._texts_of, points), strict=True)
            for place, (name, point) in enumerate(zip(names, points, strict=True)):
                width = len(point.vector) if isinstance(point.vector, list) else 0
                if width != dim:
                    raise EngineError(
                        f"the vector of {name!r:.100} in {self._url} has {width} components; expected {dim}. "
                        "Push the index again."
                    )
                vectors[place] = point.vector
            yield Rows(list(names), vectors, list(payloads), [], [])

    def ids(self, size: int) -> Iterator[list[str]]:
        """Scroll through the points in the order of their ids."""
        return ([self._texts_of(point)[0] for point in points] for points in self.points(size, _SHOWN, vectors=False))

    def points(self, size: int, payload: list[str], *, vectors: bool) -> Iterator[list[Any]]:
        """Scroll through the points of any collection, with the keys ``payload``, in the order of their ids."""
        offset: Any = None
        while True:
            points, offset = self._run(
                lambda offset=offset: self._client.scroll(
                    self._url.name, limit=size, offset=offset, with_payload=payload, with_vectors=vectors
                )
            )
            if points:
                yield points
            if offset is None:
                return

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _connect(self) -> Any:
        place = self._url.place
        if self._is_folder:
            return self._library.QdrantClient(path=place, force_disable_check_same_thread=True)
        if "@" in place:
            raise OptionError(f"{self._url} has a name or key in it. Set the environment variable {API_KEY} instead.")
        secure = self._url.address.lower().startswith("qdrants:")
        client = self._library.QdrantClient(
            url=f"{'https' if secure else 'http'}://{place}",
            api_key=os.environ.get(API_KEY),
            timeout=max(1, round(self._timeout)),
            check_compatibility=False,
        )
        client.get_collections()
        return client

    def _known(self) -> Contents:
        contents = self._contents or self.contents()
        if contents is None:
            raise EngineError(f"the collection {self._url} does not exist. Write one with: leafkit push INDEX ADDRESS")
        return contents

    def _texts(self, key: str) -> list[str]:
        """Return the different texts under ``key``."""
        hits = self._run(lambda: self._client.facet(self._url.name, key=key, limit=_MOST_TEXTS, exact=True)).hits
        return [str(hit.value) for hit in hits]

    def _found(self, points: Sequence[Any]) -> Found:
        texts = [self._texts_of(point) for point in points]
        return Found([name for name, _ in texts], [point.score for point in points], [one for _, one in texts])

    def _texts_of(self, point: Any) -> tuple[str, str]:
        """Return the id and the payload of the document of ``point``."""
        content = point.payload or {}
        name, payload = content.get("id"), content.get("payload")
        if not isinstance(name, str) or not isinstance(payload, str):
            raise EngineError(
                f"a point of {self._url} is no document that leafkit wrote ({str(point.id)[:40]}). Remove it."
            )
        return name, payload

    def _run(self, work: Callable[[], Result]) -> Result:
        """Return ``work()``, with the client's errors as one message. One thread at a time."""
        with self._lock, warnings.catch_warnings():
            # The local mode warns that it builds no indexes, and of more than 20,000 points.
            warnings.filterwarnings("ignore", message=".*(ocal mode|ocal Qdrant|20,?000).*")
            try:
                if self._client is None:
                    self._client = self._connect()
                return work()
            except LeafkitError:
                raise
            except Exception as error:  # the local mode raises those of sqlite3, pickle and others
                raise EngineError(f"{self._url}: {self._said(error)}. {self._advice(error)}") from None

    def _said(self, error: BaseException) -> str:
        """Return an error's message in one line, without a key."""
        text, key = str(error), os.environ.get(API_KEY)
        return self._url.clean(text.replace(key, "***") if key else text) or type(error).__name__

    def _advice(self, error: BaseException) -> str:
        status = getattr(error, "status_code", None)  # of an answer of the server
        if status is not None:
            if status in (401, 403):
                return f"Set the environment variable {API_KEY} to a key that may do this."
            return "Look into the server's log."
        return "Check the address and that the server runs, and run the same command again: it goes on there."


def _point_id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))
