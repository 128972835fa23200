"""`push_index`: write the documents and vectors of an index into an engine, such as PostgreSQL with pgvector."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leafkit.engines.contents import Contents
from leafkit.engines.engine import Engine, Rows
from leafkit.engines.open import open_engine
from leafkit.engines.url import EngineUrl
from leafkit.errors import EngineError, OptionError, TextError
from leafkit.files.json_file import standard_json
from leafkit.files.progress import progress
from leafkit.filters.exact import NO_TEXT
from leafkit.filters.schema import Schema
from leafkit.index.engine_options import EnginePushOptions
from leafkit.options import options_of, takes
from leafkit.search.documents import Document
from leafkit.search.package import Package, open_package, retry_during_update
from leafkit.space import require_same
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_prefix

log = logging.getLogger("leafkit")


@dataclass(frozen=True, slots=True)
class PushCounts:
    """What a push did: documents ``written``, those that were there ``already``, and ``removed`` ones.

    ``others`` counts the documents that the engine holds and the index does not.
    """

    written: int
    already: int
    removed: int
    others: int

    def __str__(self) -> str:
        others = f"; {self.others:,} others are no documents of the index (--prune removes them)" if self.others else ""
        return f"{self.written:,} written, {self.already:,} were there, {self.removed:,} removed{others}"


@takes(EnginePushOptions)
def push_index(index: str | Path, to: str, **options: Any) -> PushCounts:
    """Write vectors, ids, payloads and the vector space of ``index`` into the engine at the address ``to``.

    to: for example ``postgresql://user@host/database#table``. The table or collection is created if it does not exist.

    Repeating the call writes only what is missing or has changed, so that an interrupted push goes on, and an updated
    index is followed. Raises `SpaceError` for a table or collection of another space, `OptionError` for a folded or
    rotated index and for options that the engine does not have, `TextError` for an id that an engine cannot hold, and
    `EngineError` if the engine cannot be reached or goes away, or holds what leafkit did not write.
    """
    url, chosen = EngineUrl.parse(to), options_of(EnginePushOptions, options)
    package = retry_during_update(Path(index), lambda: open_package(index, verify=True))
    with package.files, open_engine(url, timeout=chosen.timeout) as engine:
        return _Push(package, engine, url, chosen).run()


class _Push:
    """The push of ``package`` into ``engine``."""

    def __init__(self, package: Package, engine: Engine, url: EngineUrl, options: EnginePushOptions) -> None:
        self._package, self._engine, self._url, self._options = package, engine, url, options
        self._documents = package.documents()
        self._search = package.vector_search()
        self._schema = portable_schema(package)

    def run(self) -> PushCounts:
        """Write what is missing or has changed."""
        contents = self._prepare()
        written = already = 0
        rows = self._search.live_rows()
        with progress("push", total=len(rows), unit="documents") as bar:
            for batch in self._batches(rows):
                try:
                    known = self._engine.digests(batch.ids)
                    changed = [place for place, digest in enumerate(known) if digest != batch.digests[place]]
                    if changed:
                        self._engine.write(batch.only(changed))
                except EngineError as error:
                    raise EngineError(f"{error} {bar.n:,} of {len(rows):,} documents are there.") from error
                written, already = written + len(changed), already + len(batch) - len(changed)
                bar.update(len(batch))
        others = self._engine.count() - len(rows)
        removed = self._prune() if others and self._options.prune else 0
        self._engine.finish()
        self._engine.record(replace(contents, complete=True))
        return PushCounts(written, already, removed, others - removed)

    def _prepare(self) -> Contents:
        """Create the table or collection, or check that the index may be written into it."""
        manifest, precision = self._package.manifest, self._options.precision
        if self._package.mapping is not None or manifest.space.rotation is not None:
            raise OptionError(
                f"the index {self._package.folder} is rotated or folded, so its vectors lie in no space of a teacher. "
                "Build an index without --rotate and --fold, and push that."
            )
        if precision is not None and precision not in self._engine.precisions:
            raise OptionError(f"precision is {precision!r}; this engine has {', '.join(self._engine.precisions)}.")
        old = self._engine.contents()
        contents = Contents(
            space=manifest.space,
            dim=manifest.dim,
            precision=precision or (old.precision if old else self._engine.precisions[0]),
            schema=self._schema,
            complete=False,
        )
        if old is None:
            self._engine.create(contents)
            return contents
        require_same(
            old.space, manifest.space, expected_by=str(self._url), got_from=f"the index {self._package.folder}"
        )
        if (old.dim, old.precision) != (contents.dim, contents.precision):
            raise OptionError(
                f"{self._url} holds {old.precision} vectors of {old.dim} components, and these would be "
                f"{contents.precision} of {contents.dim}. Push into another table or collection."
            )
        self._engine.record(contents)
        return contents

    def _batches(self, rows: Any) -> Iterator[Rows]:
        for start in range(0, len(rows), self._options.batch):
            chosen = rows[start : start + self._options.batch]
            vectors = unit_prefix(self._search.vectors(chosen), self._search.dim, source="the vectors of the index")
            yield rows_of([self._documents[row] for row in chosen.tolist()], vectors, self._schema)

    def _prune(self) -> int:
        """Remove the documents that the index does not have; return how many."""
        removed = 0
        live = set(self._search.live_rows().tolist()) if self._search.live is not None else None
        for ids in self._engine.ids(self._options.batch):
            found = self._documents.rows_of(ids).tolist()
            gone = [name for name, row in zip(ids, found) if row < 0 or (live is not None and row not in live)]
            if gone:
                self._engine.remove(gone)
                removed += len(gone)
        return removed


def portable_schema(package: Package) -> Schema:
    """Return the columns of ``package`` that filters in an engine may name, with the reason for those left out."""
    columns = package.columns()
    return Schema(complete=False) if columns is None else columns.schema.without(columns.unportable())


def rows_of(documents: Sequence[Document], vectors: Float32, schema: Schema) -> Rows:
    """Return ``documents`` with their unit ``vectors`` as they are written to an engine.

    Raises `TextError` for an id that engines cannot hold.
    """
    for document in documents:
        if NO_TEXT.search(document.id):
            raise TextError(
                f"the id {document.id!r:.100} contains NUL or half of a surrogate pair, which engines cannot hold. "
                "Give the document another id."
            )
    return Rows(
        [document.id for document in documents],
        vectors,
        [standard_json(dict(document.payload)) for document in documents],
        [fields_of(document.payload, schema) for document in documents],
        digests_of(documents, vectors, schema),
    )


def digests_of(documents: Sequence[Document], vectors: Float32, schema: Schema) -> list[str]:
    """Return a hash of id, payload, fields and vector of each of ``documents``."""
    return [
        hashlib.sha256(
            standard_json([document.id, dict(document.payload), fields_of(document.payload, schema)]).encode()
            + vector.astype("<f4").tobytes()
        ).hexdigest()[:32]
        for document, vector in zip(documents, vectors, strict=True)
    ]


def fields_of(payload: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return the values of ``payload`` that filters compare: columns of ``schema`` with a value."""
    return {
        name: value
        for name, value in payload.items()
        if name in schema.types and value is not None and value != [] and value == value
    }
