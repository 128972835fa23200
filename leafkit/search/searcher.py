"""Search an index package with texts or vectors: hits have ids, cosines and payloads. Needs one CPU core, no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy
from numpy.typing import NDArray

from leafkit.engines.url import is_engine_url
from leafkit.errors import OptionError, VectorError
from leafkit.filters.where import Where, read_where
from leafkit.search.columns import Columns
from leafkit.search.documents import Documents
from leafkit.search.encoders import Encoders, engine_encoders, open_encoders, shared_teacher
from leafkit.search.engine_index import EngineIndex
from leafkit.search.faiss_index import Depth
from leafkit.search.hits import Hits
from leafkit.search.hybrid import Fusion, check_fusion, hybrid_search
from leafkit.search.lexical import Lexical
from leafkit.search.manifest import Rung, read_manifest
from leafkit.search.package import Package, open_package, retry_during_update
from leafkit.search.vector_search import VectorSearch
from leafkit.space import Space
from leafkit.types import Encoder, Float32, Int64

log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """How an index is opened: the options of `Searcher.open`, with the teacher as one function for all contents."""

    encoder: str | Path | Encoder | None
    teacher: Callable[[], Encoder] | None
    verify: bool
    memory_map: bool
    threads: int
    oversample: int | None
    depth: Depth | None

    def open(self, folder: Path, before: Encoders | None = None) -> Searcher:
        """Open the index in ``folder``; ``before`` are encoders of an earlier content, which may serve again."""
        return retry_during_update(folder, lambda: self._open_once(folder, before))

    def _open_once(self, folder: Path, before: Encoders | None) -> Searcher:
        package, mapped = open_package(folder, verify=self.verify), self.memory_map
        with package.files:
            return Searcher(
                package,
                package.vector_search(
                    memory_map=mapped, threads=self.threads, oversample=self.oversample, depth=self.depth
                ),
                package.documents(memory_map=mapped),
                open_encoders(package, self.encoder, self.teacher, self.threads, before),
                package.lexical(memory_map=mapped),
                columns=package.columns(memory_map=mapped),
                opening=self,
            )


class Searcher:
    """An open index package. Any number of threads may search it, and an update of the folder does not disturb it.

    A score is the cosine between the query and the most exact vector that the package holds of a document. The score
    differs from the true cosine by at most 1e-6 for float32, 1e-3 for float16 and 5e-3 for int8, for every type of
    index.
    """

    def __init__(
        self,
        package: Package,
        vector_search: VectorSearch,
        documents: Documents,
        encoders: Encoders,
        lexical: Lexical | None = None,
        *,
        columns: Columns | None = None,
        opening: _Opening,
    ) -> None:
        """Combine parts that are already open; `Searcher.open` opens them."""
        self.manifest = package.manifest
        self._opening = opening
        self._package = package
        self._vector_search = vector_search
        self._documents = documents
        self._encoders = encoders
        self._lexical = lexical
        self._columns = columns

    @classmethod
    def open(
        cls,
        index: str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        teacher: Encoder | Callable[[], Encoder] | None = None,
        verify: bool = True,
        memory_map: bool = True,
        threads: int = 1,
        oversample: int | None = None,
        depth: Depth | None = None,
    ) -> Searcher:
        """Open the index folder ``index``, or the index in an engine at such an address.

        index: a folder, or an address such as ``postgresql://user@host/database#table``, where `leafkit.push_index`
            wrote an index. An engine stores no student, so ``encoder`` gives it. A searcher of an engine searches with
            ``where``, and has neither ``manifest`` nor ``allow`` nor hybrid search.
        encoder: overrides the query encoders inside the index: a student folder, the name of a student that ships with
            leafkit, or any encoder of the index's space.
        teacher: encodes the queries of the effort ``teacher``: an encoder of the index's space, or a function that is
            called at the first such search and returns one.
        verify: read every file and compare its hash (1 to 2 s per gigabyte). If False, only sizes are compared.
        memory_map: leave vectors in their files until a search needs them. If False, read all of them into memory now.
        threads: threads that the encoder and FAISS use for each search.
        oversample: candidates rescored for each hit (see `leafkit.search.vector_search.VectorSearch`).
        depth: how much of an approximate index is visited (see `leafkit.search.faiss_index.Depth`).

        Raises `DamageError` for a file that is missing, truncated or changed, `SpaceError` for an encoder of another
        space, `InputError` for a folder that is not an index, `OptionError` for an option outside its range, and
        `EngineError` for an engine that cannot be reached or that holds no index.
        """
        if threads < 1:
            raise OptionError(f"threads is {threads}; expected at least 1.")
        if is_engine_url(index):
            held = EngineIndex(str(index))
            opener = None if teacher is None else shared_teacher(teacher)
            return _EngineSearcher(held, engine_encoders(held.url, held.contents.space, encoder, opener, threads))
        opening = _Opening(
            encoder=encoder,
            teacher=None if teacher is None else shared_teacher(teacher),
            verify=verify,
            memory_map=memory_map,
            threads=threads,
            oversample=oversample,
            depth=depth,
        )
        return opening.open(Path(index))

    def reload(self) -> Searcher:
        """Return a searcher of what the folder holds now, opened with the same options; itself if nothing has changed.

        This searcher still searches what it has open, so searches in other threads are not disturbed. Students whose
        files have not changed are not opened again. Raises the errors of `open`.
        """
        folder = self._package.folder
        return self if read_manifest(folder) == self.manifest else self._opening.open(folder, self._encoders)

    def __len__(self) -> int:
        return self._vector_search.count

    @property
    def space(self) -> Space:
        """The space of the teacher's vectors. Query vectors must belong to the same space."""
        return self._package.teacher_space

    @property
    def encoder(self) -> Encoder:
        """The encoder of the queries; raises `OptionError` if the index has none inside and none was given."""
        return self._encoders.get()

    def encoder_of(self, effort: str) -> Encoder:
        """Return the encoder of ``effort``, opened now if no search has used it; raises the errors of `search`."""
        return self._encoders.get(effort)

    @property
    def efforts(self) -> tuple[str, ...]:
        """The efforts that a search may choose: the students from the fastest to the best, then the teacher if given.

        The best student is the default.
        """
        return self._encoders.efforts

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """What the index says about its students, one for each effort; empty if another encoder was given instead."""
        return self._encoders.rungs

    @property
    def columns(self) -> dict[str, str]:
        """The columns that a filter may name, with their types: integer, number, boolean, text or texts (lists)."""
        return {} if self._columns is None else dict(self._columns.schema.types)

    @property
    def lexical(self) -> Lexical:
        """The words of the documents; raises `OptionError` if the index was built without them."""
        if self._lexical is None:
            raise OptionError(
                f"the index {self._package.folder} was built without the words of its documents, so it has no hybrid "
                "search. Store them with: leafkit update INDEX --lexical"
            )
        return self._lexical

    @overload
    def search(
        self,
        query: str,
        k: int = 10,
        allow: Collection[str] | None = None,
        *,
        hybrid: float | str | bool | None = None,
        where: Where | None = None,
        effort: str | None = None,
    ) -> Hits: ...

    @overload
    def search(
        self,
        query: list[str] | tuple[str, ...],
        k: int = 10,
        allow: Collection[str] | None = None,
        *,
        hybrid: float | str | bool | None = None,
        where: Where | None = None,
        effort: str | None = None,
    ) -> list[Hits]: ...

    @overload
    def search(
        self,
        query: NDArray[Any],
        k: int = 10,
        allow: Collection[str] | None = None,
        *,
        hybrid: None = None,
        where: Where | None = None,
        effort: None = None,
    ) -> Hits | list[Hits]: ...

    def search(
        self,
        query: str | Sequence[str] | NDArray[Any],
        k: int = 10,
        allow: Collection[str] | None = None,
        *,
        hybrid: float | str | bool | None = None,
        where: Where | None = None,
        effort: str | None = None,
    ) -> Hits | list[Hits]:
        """Find the ``k`` documents nearest to each query.

        query: a text or a vector (dim,) returns `Hits`; a list of texts or an array (queries, dim) returns a list of
            `Hits`. A vector belongs to the teacher's space and has its width. Unless the index is rotated or folded, it
            may also be truncated to the index's width. A folded index ranks only vectors of its own student correctly.
            Texts beyond the encoder's length limit are truncated.
        k: hits for each query; fewer are returned if fewer documents exist or are allowed.
        allow: find only documents with these ids. Unknown ids are ignored and counted in the log.
        hybrid: fuse the vectors with BM25 over the words of the documents, and order the hits by the fused score
            (`leafkit.search.hybrid`): the weight of the vectors from 0 (BM25 alone, which finds only documents that
            share a word with the query) to 1, True for the default weight, or ``rrf`` for reciprocal rank fusion.
        where: find only documents whose payload fulfils this filter, an expression such as
            ``category = "linux" and year >= 2020`` or a mapping such as ``{"category": "linux", "year": {">=": 2020}}``
            (see `leafkit.filters.where`). With ``allow``, both must hold.
        effort: which of the index's encoders reads the texts, one of `efforts`. Default: the best student.

        Raises `OptionError` for k < 1, a blank query, a string as ``allow``, an invalid filter, an unknown effort, and
        ``hybrid`` or ``effort`` with vectors or ``hybrid`` without the words of the documents, and `VectorError` for
        vectors that have another width, are not finite or are zero.
        """
        if k < 1:
            raise OptionError(f"k is {k}; expected at least 1.")
        fusion = check_fusion(hybrid)
        if fusion is not None and isinstance(query, numpy.ndarray):
            raise OptionError("a hybrid search needs the text of the query, but a vector is given. Give the text.")
        if effort is not None:
            self._encoders.check(effort)
            if isinstance(query, numpy.ndarray):
                raise OptionError("effort chooses what encodes a text, but a vector is given. Leave effort out.")
        single = isinstance(query, str) or (isinstance(query, numpy.ndarray) and query.ndim == 1)
        queries = [query] if isinstance(query, str) else query
        hits = self._find(queries, k, allow, where, fusion, effort)
        return hits[0] if single else hits

    def _find(
        self,
        queries: Sequence[str] | NDArray[Any],
        k: int,
        allow: Collection[str] | None,
        where: Where | None,
        fusion: Fusion | None,
        effort: str | None,
    ) -> list[Hits]:
        """Return the hits of each of ``queries``, for checked arguments of `search`."""
        rows = self._rows(allow, where)
        if fusion is not None and not isinstance(queries, numpy.ndarray):
            return self._search_hybrid(queries, k, rows, fusion, effort)
        found = self._vector_search.search(self._vectors(queries, effort), k, rows)
        return [self._hits(*pair) for pair in zip(found.rows, found.scores, strict=True)]

    def _search_hybrid(
        self, texts: Sequence[str], k: int, rows: Int64 | None, fusion: Fusion, effort: str | None
    ) -> list[Hits]:
        lexical = self.lexical  # before the texts are encoded
        vectors = self._vectors(texts, effort)
        found = hybrid_search(self._vector_search, lexical, texts, vectors, k=k, allow=rows, fusion=fusion)
        return [self._hits(one.rows, one.cosines, one.fused) for one in found]

    def _vectors(self, query: Sequence[str] | NDArray[Any], effort: str | None) -> NDArray[Any]:
        if not isinstance(query, numpy.ndarray):
            return self._encoded(query, effort)
        vectors = query[None] if query.ndim == 1 else query
        mapping = self._package.mapping
        # With a mapping only the teacher's width is accepted: a truncated vector cannot be mapped.
        widths = (self.space.dim, self.space.dim if mapping else self.manifest.dim)
        if vectors.ndim != 2 or vectors.shape[1] not in widths or not numpy.issubdtype(vectors.dtype, numpy.number):
            raise VectorError(
                f"the query vectors are {query.dtype} of shape {query.shape}; expected rows of "
                f"{' or '.join(map(str, sorted({*widths})))} numbers."
            )
        return vectors if mapping is None else mapping.apply(vectors, "query")

    def _encoded(self, texts: Sequence[str], effort: str | None) -> NDArray[Any]:
        for number, text in enumerate(texts, start=1):
            if not isinstance(text, str) or not text.strip():
                raise OptionError(f"query {number} of {len(texts)} is {text!r}; expected a text that is not blank.")
        if not len(texts):
            return numpy.empty((0, self.space.dim), dtype=numpy.float32)
        return self._encoders.get(effort).encode(list(texts), "query")

    def _rows(self, allow: Collection[str] | None, where: Where | None) -> Int64 | None:
        """Return the only rows to choose from, some of which may be removed; None for all rows."""
        allowed = None if allow is None else self._allowed(allow)
        if where is None:
            return allowed
        condition = read_where(where)
        if self._columns is None:
            raise OptionError(
                f"the index {self._package.folder} has no columns to filter by: an older leafkit wrote it. "
                "Write them with: leafkit update INDEX --lexical (or --no-lexical, without the words)."
            )
        rows = self._columns.rows(condition)
        return rows if allowed is None else numpy.intersect1d(rows, allowed)

    def _allowed(self, allow: Collection[str]) -> Int64:
        if isinstance(allow, str):
            raise OptionError(f"allow is the string {allow!r}; expected a collection of ids, such as [{allow!r}].")
        rows = self._documents.rows_of(allow)
        unknown = int((rows < 0).sum())
        if unknown:
            log.warning("%d of %d allowed ids are not in the index and are ignored", unknown, len(rows))
        return rows[rows >= 0]

    def _hits(self, rows: Int64, scores: Float32, fused: Float32 | None = None) -> Hits:
        documents = [self._documents[row] for row in rows.tolist()]
        return Hits([d.id for d in documents], scores, [dict(d.payload) for d in documents], fused)


class _EngineSearcher(Searcher):
    """A searcher of an index in an engine."""

    def __init__(self, held: EngineIndex, encoders: Encoders) -> None:
        self._held = held
        self._encoders = encoders

    def reload(self) -> Searcher:
        """Return this searcher, which always searches what the engine holds now."""
        return self

    def __len__(self) -> int:
        return len(self._held)

    @property
    def space(self) -> Space:
        return self._held.contents.space

    @property
    def columns(self) -> dict[str, str]:
        return dict(self._held.contents.schema.types)

    @property
    def lexical(self) -> Lexical:
        raise OptionError(f"{self._held.url} has no words of its documents, so it has no hybrid search.")

    def _find(
        self,
        queries: Sequence[str] | NDArray[Any],
        k: int,
        allow: Collection[str] | None,
        where: Where | None,
        fusion: Fusion | None,
        effort: str | None,
    ) -> list[Hits]:
        if fusion is not None:
            raise OptionError(f"{self._held.url} has no words of its documents, so it has no hybrid search.")
        if allow is not None:
            raise OptionError("an engine has no search among given ids (allow). Use where and a column of the payload.")
        if isinstance(queries, numpy.ndarray):
            return self._held.search(queries[None] if queries.ndim == 1 else queries, k, where)
        return self._held.search(self._encoded(queries, effort), k, where)
