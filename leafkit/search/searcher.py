"""Search an index: texts or vectors in, ids with cosines and payload out, on one CPU core and without torch."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, VectorError
from leafkit.search.documents import Documents
from leafkit.search.faiss_index import Depth
from leafkit.search.finder import Finder
from leafkit.search.manifest import ENCODER
from leafkit.search.package import Package, open_package, steadily
from leafkit.space import Space, require_same
from leafkit.types import Encoder, Float32, Int64
from leafkit.vectors.mapping import FOLD, MappedEncoder

log = logging.getLogger("leafkit")


@dataclass(frozen=True, slots=True)
class Hits:
    """The documents nearest to one query, best first: ids, cosines of the space (hits,), and each one's columns."""

    ids: list[str]
    scores: Float32
    payload: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.ids)


class Searcher:
    """An open index. Any number of threads may search it; an update of the folder does not disturb it.

    A score is the cosine between the query and the most exact vector the index holds of the document: within 1e-6
    of the true one for float32, 1e-3 for float16, 5e-3 for int8, whatever the index type found it with.
    """

    def __init__(self, package: Package, finder: Finder, documents: Documents, encoder: Encoder | None) -> None:
        """Use `Searcher.open`."""
        self.manifest = package.manifest
        self._package = package
        self._finder = finder
        self._documents = documents
        self._encoder = encoder

    @classmethod
    def open(
        cls,
        index: str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        verify: bool = True,
        memory_map: bool = True,
        threads: int = 1,
        oversample: int | None = None,
        depth: Depth | None = None,
    ) -> Searcher:
        """Open the index folder ``index``.

        encoder: a student folder, the name of one that ships, or an encoder of the index's space, in place of the one
            inside the index.
        verify: read every file and compare its hash (1 to 2 s a gigabyte); else only sizes are compared.
        memory_map: leave vectors in their files, to be read as they are needed; else read them all now.
        threads: of the encoder and of FAISS, for each search.
        oversample: candidates rescored for each hit (see `leafkit.search.finder.Finder`).
        depth: how far an approximate index looks (see `leafkit.search.faiss_index.Depth`).

        Raises `DamageError` for a file that is missing, cut off or changed, `SpaceError` for an encoder of another
        space and `InputError` for a folder that is no index.
        """
        if threads < 1:
            raise OptionError(f"threads is {threads}, wanted 1 or more")
        folder = Path(index)

        def opened() -> Searcher:
            package = open_package(folder, verify=verify)
            return cls(
                package,
                package.finder(memory_map=memory_map, threads=threads, oversample=oversample, depth=depth),
                package.documents(memory_map=memory_map),
                _open_encoder(package, encoder, threads),
            )

        return steadily(folder, opened)

    def __len__(self) -> int:
        return self._finder.count

    @property
    def space(self) -> Space:
        """The space of the teacher's vectors, and of those to search with."""
        return self._package.teacher_space

    @property
    def encoder(self) -> Encoder:
        """What encodes the queries; raises `OptionError` where the index has none inside and none was given."""
        if self._encoder is None:
            raise OptionError(
                "this index was built without a student: open it with encoder=STUDENT, or search with vectors"
            )
        return self._encoder

    @overload
    def search(self, query: str, k: int = 10, allow: Collection[str] | None = None) -> Hits: ...

    @overload
    def search(
        self, query: list[str] | tuple[str, ...], k: int = 10, allow: Collection[str] | None = None
    ) -> list[Hits]: ...

    @overload
    def search(self, query: NDArray[Any], k: int = 10, allow: Collection[str] | None = None) -> Hits | list[Hits]: ...

    def search(
        self, query: str | Sequence[str] | NDArray[Any], k: int = 10, allow: Collection[str] | None = None
    ) -> Hits | list[Hits]:
        """The ``k`` documents nearest to each query: `Hits` for one (a text, or a vector of one axis), else a list.

        A vector is one of the teacher's space: of its width or, unless the index is rotated or folded, cut to that
        of the index. A folded index ranks the vectors of its student alone as they would be. Texts longer than the
        encoder's limit are cut there. Fewer than ``k`` hits come where fewer documents are there, or allowed.
        ``allow``: only documents with these ids; ids that no document has are ignored and counted in the log.

        Raises `OptionError` for k < 1, a blank query or a string as ``allow``, `VectorError` for vectors of another
        width, not finite or zero.
        """
        if k < 1:
            raise OptionError(f"k is {k}, wanted 1 or more")
        one = isinstance(query, str) or (isinstance(query, numpy.ndarray) and query.ndim == 1)
        rows = None if allow is None else self._allowed(allow)
        vectors = self._vectors([query] if isinstance(query, str) else query)
        found = self._finder.search(vectors, k, rows)
        hits = [self._hits(*pair) for pair in zip(found.rows, found.scores, strict=True)]
        return hits[0] if one else hits

    def _vectors(self, query: Sequence[str] | NDArray[Any]) -> NDArray[Any]:
        if not isinstance(query, numpy.ndarray):
            for number, text in enumerate(query, start=1):
                if not isinstance(text, str) or not text.strip():
                    raise OptionError(f"query {number} of {len(query)} is {text!r}, wanted a text that says something")
            if not len(query):
                return numpy.empty((0, self.space.dim), dtype=numpy.float32)
            return self.encoder.encode(list(query), "query")
        vectors = query[None] if query.ndim == 1 else query
        mapping = self._package.mapping
        # Other coordinates could have the same width as the teacher's, so these alone are taken.
        widths = (self.space.dim, self.space.dim if mapping else self.manifest.dim)
        if vectors.ndim != 2 or vectors.shape[1] not in widths or not numpy.issubdtype(vectors.dtype, numpy.number):
            raise VectorError(
                f"got {query.dtype} vectors of shape {query.shape}, wanted {' or '.join(map(str, sorted({*widths})))} "
                "numbers a row"
            )
        return vectors if mapping is None else mapping.apply(vectors, "query")

    def _allowed(self, allow: Collection[str]) -> Int64:
        if isinstance(allow, str):
            raise OptionError(f"allow is the string {allow!r}, wanted a collection of ids")
        rows = self._documents.rows_of(allow)
        unknown = int((rows < 0).sum())
        if unknown:
            log.warning("%d of %d allowed ids are not in the index", unknown, len(rows))
        return rows[rows >= 0]

    def _hits(self, rows: Int64, scores: Float32) -> Hits:
        documents = [self._documents[row] for row in rows.tolist()]
        return Hits([d.id for d in documents], scores, [dict(d.payload) for d in documents])


def _open_encoder(package: Package, encoder: str | Path | Encoder | None, threads: int) -> Encoder | None:
    """The encoder, in the index's coordinates; only a fold takes none but the student it was made for."""
    if encoder is None:
        if package.manifest.encoder is None:
            return None
        encoder = package.folder / ENCODER
    opened = _open_folder(Path(encoder), threads) if isinstance(encoder, str | Path) else encoder
    mapping = package.mapping
    if mapping is not None and mapping.kind != FOLD and opened.space.id == mapping.base.id:
        return MappedEncoder(opened, mapping)
    wanted_by = f"the index {package.folder}"
    if mapping is not None and mapping.kind == FOLD:
        wanted_by += " (folded for the student inside it, which alone can search it)"
    require_same(package.manifest.space, opened.space, wanted_by=wanted_by, got_from="the query encoder")
    return opened


def _open_folder(folder: Path, threads: int) -> Encoder:
    from leafkit.search.query_encoder import QueryEncoder

    return QueryEncoder.open(folder, threads=threads)
