"""The one file that speaks to FAISS: build, write, read, and the rows nearest to a query, with a selector."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError, OptionError
from leafkit.search.plan import Plan
from leafkit.types import Float32, Int64

# SWIG declares other signatures than the ones faiss puts in place when it is imported.
api: Any = faiss

Bits = NDArray[numpy.uint8]

# How far int8 ranges reach beyond the documents they were fitted to, in widths of the range on either side, so that
# added ones fit too. Of 19,000 package descriptions added to 1,000, 16 % were cut by 0, 0.4 % by 0.15; the first
# thousand's cosines err by 1.5e-3 instead of 1.1e-3 (99.9th percentile).
RESERVE = 0.15

_READING = threading.Lock()


class FaissIndex:
    """A FAISS index whose labels are the rows 0, 1, 2 ... in the order they were added.

    Vectors are unit-norm and compared by inner product; a binary index holds their sign bits and compares
    by Hamming distance. Any number of threads may search one index; adding needs it alone.
    """

    def __init__(self, native: Any, *, dim: int, binary: bool) -> None:
        """Wrap ``native``, a ``faiss.Index`` or ``faiss.IndexBinary``, of vectors with ``dim`` components."""
        self.native = native
        self.dim = dim
        self.binary = binary
        self._mapping = threading.Lock()
        self._mapped = False

    @classmethod
    def empty(cls, plan: Plan, dim: int) -> FaissIndex:
        """An untrained index of ``plan``; raises `OptionError` where FAISS does not take the factory string."""
        try:
            if plan.binary:
                return cls(api.index_binary_factory(-(-dim // 8) * 8, plan.factory), dim=dim, binary=True)
            return cls(api.index_factory(dim, plan.factory, api.METRIC_INNER_PRODUCT), dim=dim, binary=False)
        except RuntimeError as error:
            raise OptionError(
                f"FAISS does not take the factory {plan.factory!r} for {dim} components "
                f"and inner product: {_said(error)}"
            ) from error

    @classmethod
    def read(cls, path: Path, *, dim: int, binary: bool, memory_map: bool) -> FaissIndex:
        """The index at ``path``; with ``memory_map`` its vectors, graph and lists stay in the file.

        Raises `DamageError` where FAISS cannot read it.
        """
        flags = api.IO_FLAG_MMAP_IFC if memory_map else 0
        read = api.read_index_binary if binary else api.read_index
        try:
            with _limits(path):
                native = read(str(path), flags)
        except RuntimeError as error:
            raise DamageError(f"{path} is not an index that FAISS can read: {_said(error)}") from error
        if native.d != (-(-dim // 8) * 8 if binary else dim):
            raise DamageError(f"{path} holds vectors of {native.d} components, the manifest says {dim}")
        return cls(native, dim=dim, binary=binary)

    def __len__(self) -> int:
        return int(self.native.ntotal)

    @property
    def trained(self) -> bool:
        """Whether rows can be added."""
        return bool(self.native.is_trained)

    def train(self, vectors: Float32) -> None:
        """Fit lists and codecs to ``vectors``; raises `OptionError` where they are too few for the factory."""
        for codec in _codecs(self.native):
            codec.rangestat_arg = RESERVE
        try:
            self.native.train(self._coded(vectors))
        except RuntimeError as error:
            raise OptionError(f"FAISS cannot fit this factory to {len(vectors)} vectors: {_said(error)}") from error

    def add(self, vectors: Float32) -> None:
        """Append unit ``vectors`` (rows, dim); raises `OptionError` where the type cannot take more rows."""
        try:
            self.native.add(self._coded(vectors))
        except RuntimeError as error:
            raise OptionError(
                f"FAISS cannot add {len(vectors)} rows to this type of index: {_said(error)}; build the index again"
            ) from error
        self._mapped = False

    def clear(self) -> None:
        """Forget all rows and keep what was trained."""
        self.native.reset()
        self._mapped = False

    @property
    def graph(self) -> bool:
        """Whether rows are linked to their neighbours: such an index takes long to fill."""
        return isinstance(_innermost(self.native), api.IndexHNSW | api.IndexBinaryHNSW | api.IndexNSG)

    def write(self, path: Path) -> None:
        """Write the index to a new file at ``path``; a full disk is an `OSError`."""
        # FAISS's own file writer loses the error of the last flush; Python's file does not.
        write = api.write_index_binary if self.binary else api.write_index
        with open(path, "wb") as file:
            write(self.native, api.PyCallbackIOWriter(file.write, 1 << 20))

    def nearest(self, queries: Float32, count: int, *, bits: Bits | None, depth: Depth) -> Int64:
        """The ``count`` rows nearest to each unit query by FAISS's own measure, shape (queries, count).

        Filled with -1 where it found fewer. ``bits`` (little-endian, a bit a row) limits the rows to look at;
        only for types that `takes_selector`.
        """
        selector = None if bits is None else api.IDSelectorBitmap(bits)
        held: list[Any] = [selector]
        depth = replace(depth, nodes=max(depth.nodes, count))
        params = _parameters(self.native, selector, depth, held)
        _, rows = self.native.search(self._coded(queries), count, params=params)
        return rows

    @cached_property
    def takes_selector(self) -> bool:
        """Whether this type can be told which rows to look at."""
        bits = numpy.full(-(-len(self) // 8), 255, dtype=numpy.uint8)
        try:
            self.nearest(numpy.ones((1, self.dim), dtype=numpy.float32), 1, bits=bits, depth=Depth())
        except RuntimeError:
            return False
        return True

    @cached_property
    def keeps_vectors(self) -> bool:
        """Whether `vectors` works for this type."""
        try:
            self.vectors(numpy.arange(min(1, len(self))))
        except RuntimeError:
            return False
        return True

    def vectors(self, rows: Int64) -> Float32:
        """What the index holds of ``rows``, shape (rows, dim), of any length; +1 and -1 for a binary index."""
        self._map_rows()
        if not self.binary:
            return self.native.reconstruct_batch(numpy.ascontiguousarray(rows, dtype=numpy.int64))
        codes = numpy.zeros((len(rows), self.native.code_size), dtype=numpy.uint8)
        for code, row in zip(codes, rows, strict=True):
            code[:] = self.native.reconstruct(int(row))
        signs = numpy.unpackbits(codes, axis=1, count=self.dim).astype(numpy.float32)
        return 2 * signs - 1

    def _coded(self, vectors: Float32) -> NDArray[Any]:
        return numpy.packbits(vectors > 0, axis=1) if self.binary else numpy.ascontiguousarray(vectors)

    def _map_rows(self) -> None:
        """Have inverted lists know where each row is: 8 bytes a row, made when first needed, never written."""
        if self._mapped:
            return
        with self._mapping:
            lists = _lists_of(self.native)
            if lists is not None and not self._mapped:
                lists.set_direct_map_type(api.DirectMap.NoMap)
                lists.make_direct_map()
            self._mapped = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How far a search looks: FAISS's own defaults (1 list, 16 nodes) lose too many hits.

    ``lists`` are visited of an inverted file (None: twice the square root of their number, at least 8), ``nodes``
    are kept open in a graph, and an index's own refinement gets ``factor`` times the wanted rows. Share of the true
    ten nearest on 20,000 package descriptions (384-d): graph 0.997; 512 lists 0.95. `within` sets ``widening``.
    """

    lists: int | None = None
    nodes: int = 128
    factor: float = 10.0
    widening: float = 1.0

    def lists_of(self, total: int) -> int:
        """How many of ``total`` lists are visited."""
        return min(total, round(self.widening * (self.lists or max(8, round(2 * total**0.5)))))

    def within(self, share: float) -> Depth:
        """The depth that still meets as many rows where only this ``share`` of them may be found."""
        return replace(self, nodes=math.ceil(self.nodes / share), widening=1 / share)


def _parameters(native: Any, selector: Any, depth: Depth, held: list[Any]) -> Any:
    """FAISS's search parameters for this type; ``held`` keeps the nested ones alive during the search."""
    native = _exact_type(native)
    made: Any = None
    if isinstance(native, api.IndexRefine):
        inner = _parameters(native.base_index, selector, depth, held)
        made = api.IndexRefineSearchParameters(k_factor=depth.factor, base_index_params=inner)
    elif isinstance(native, api.IndexPreTransform):
        inner = _parameters(native.index, selector, depth, held)
        made = None if inner is None else api.SearchParametersPreTransform(index_params=inner)
    elif isinstance(native, api.IndexHNSW | api.IndexBinaryHNSW):
        made = api.SearchParametersHNSW(sel=selector, efSearch=depth.nodes)
    elif isinstance(native, api.IndexIVF | api.IndexBinaryIVF):
        made = api.SearchParametersIVF(sel=selector, nprobe=depth.lists_of(native.nlist))
    elif selector is not None:
        made = api.SearchParameters(sel=selector)
    held.append(made)
    return made


def _lists_of(native: Any) -> Any:
    """The inverted file inside ``native``, or None."""
    native = _exact_type(native)
    if isinstance(native, api.IndexPreTransform):
        return _lists_of(native.index)
    return native if isinstance(native, api.IndexIVF | api.IndexBinaryIVF) else None


def _innermost(native: Any) -> Any:
    """What ``native`` searches first, below refinement and transforms."""
    native = _exact_type(native)
    if isinstance(native, api.IndexRefine):
        return _innermost(native.base_index)
    return _innermost(native.index) if isinstance(native, api.IndexPreTransform) else native


def _codecs(native: Any) -> Iterator[Any]:
    """The scalar quantisers inside ``native``."""
    native = _exact_type(native)
    inner = [
        getattr(native, name) for name in ("base_index", "refine_index", "index", "storage") if hasattr(native, name)
    ]
    for part in inner:
        yield from _codecs(part)
    if hasattr(native, "sq"):
        yield native.sq


def _exact_type(native: Any) -> Any:
    return (api.downcast_IndexBinary if isinstance(native, api.IndexBinary) else api.downcast_index)(native)


@contextlib.contextmanager
def _limits(path: Path) -> Iterator[None]:
    """No array in the file can be larger than the file: keeps a hostile one from taking all memory."""
    with _READING:
        before = api.get_deserialization_vector_byte_limit()
        api.set_deserialization_vector_byte_limit(max(path.stat().st_size, 1 << 20))
        try:
            yield
        finally:
            api.set_deserialization_vector_byte_limit(before)


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let FAISS use ``count`` threads in this block, for calls from this thread; None leaves its default."""
    before = api.omp_get_max_threads()
    if count is not None:
        api.omp_set_num_threads(count)
    try:
        yield
    finally:
        api.omp_set_num_threads(before)


def _said(error: RuntimeError) -> str:
    """The last part of a FAISS message: the first is the C++ signature."""
    return str(error).rsplit("Error: ", 1)[-1].strip()
