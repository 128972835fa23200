"""The one file that calls FAISS: build, write and read an index, and find the rows nearest to a query.

`leafkit.index` alone builds and writes; those methods stay here to keep FAISS in one file. Only lists that are larger
than memory are written by `leafkit.index.lists_on_disk`.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
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
from leafkit.files.json_file import explain_invalid
from leafkit.files.open_files import OpenFiles
from leafkit.search.faiss_fields import Fields, FormatError
from leafkit.search.faiss_file import check_faiss_file
from leafkit.search.plan import SUPPORTED, Plan
from leafkit.types import Float32, Int64

# SWIG declares other signatures than the ones that faiss puts in place when it is imported.
api: Any = faiss

# One bit for each row, packed little-endian: 1 for rows that may be found.
RowBits = NDArray[numpy.uint8]

# How far the range of an int8 component is widened on either side, as a share of its width, so that documents added
# later fit too. Of 19,000 package descriptions added to 1,000, 16 % were clipped with 0 and 0.4 % with 0.15. In
# return the cosines of the first thousand err by 1.5e-3 instead of 1.1e-3 (99.9th percentile).
RANGE_MARGIN = 0.15

# The most nodes kept open for a search that skips rows. FAISS compares all open nodes at each step, so an index of a
# million rows without a live one would be searched for minutes. Where too few rows are found, all are scored instead.
MOST_NODES = 1 << 15


class FaissIndex:
    """A FAISS index whose labels are the rows 0, 1, 2 ... in the order they were added.

    Vectors have unit length and are compared by inner product. A binary index holds their sign bits and compares
    them by Hamming distance. Any number of threads may search one index, but none while rows are added.
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
        """Make an untrained index from ``plan``; raises `OptionError` if FAISS or leafkit rejects the factory."""
        try:
            if plan.binary:
                native = api.index_binary_factory(-(-dim // 8) * 8, plan.factory)
            else:
                native = api.index_factory(dim, plan.factory, api.METRIC_INNER_PRODUCT)
        except (RuntimeError, MemoryError) as error:
            raise OptionError(
                f"FAISS rejects the factory {plan.factory!r} for {dim} components and inner product: "
                f"{_reason(error)}. Choose another factory."
            ) from error
        try:
            serialise = api.serialize_index_binary if plan.binary else api.serialize_index
            check_faiss_file(Fields(memoryview(serialise(native))), dim=dim, binary=plan.binary)
        except (FormatError, RuntimeError) as error:
            raise OptionError(
                f"leafkit does not open indexes of the factory {plan.factory!r}, so it builds none. {SUPPORTED}"
            ) from error
        return cls(native, dim=dim, binary=plan.binary)

    @classmethod
    def read(
        cls, path: Path, *, dim: int, binary: bool, memory_map: bool, files: OpenFiles | None = None
    ) -> FaissIndex:
        """Read the index at ``path``. With ``memory_map`` its vectors, graph and lists stay in the file.

        ``files`` are the open files of the index's folder; None opens the file for this call.

        Raises `DamageError` for a file that `check_faiss_file` rejects, as it does one whose vectors do not have
        ``dim`` components, before FAISS reads it.
        """
        with (
            explain_invalid(path, expected="an index that leafkit can open", advice="Build the index again."),
            # The file that is checked is the file that FAISS opens, even if another one takes its name meanwhile.
            OpenFiles(path.parent, follow_links=False) as own,
        ):
            file = (files or own).open(path)
            _check_file(file.fileno(), dim=dim, binary=binary)
            native = _read_native(f"/dev/fd/{file.fileno()}", binary=binary, memory_map=memory_map)
        return cls(native, dim=dim, binary=binary)

    def __len__(self) -> int:
        return int(self.native.ntotal)

    @property
    def trained(self) -> bool:
        """Whether training is done, so that rows can be added."""
        return bool(self.native.is_trained)

    def train(self, vectors: Float32) -> None:
        """Fit lists and codecs to ``vectors``; raises `OptionError` if there are too few for the factory."""
        for quantiser in _scalar_quantisers(self.native):
            quantiser.rangestat_arg = RANGE_MARGIN
        try:
            self.native.train(self._coded(vectors))
        except RuntimeError as error:
            raise OptionError(
                f"FAISS cannot train this factory on {len(vectors)} vectors: {_reason(error)}. "
                "Choose a factory with fewer lists or codes, or index more documents."
            ) from error

    def add(self, vectors: Float32) -> None:
        """Append unit ``vectors`` (rows, dim); raises `OptionError` if this type of index cannot grow."""
        try:
            self.native.add(self._coded(vectors))
        except RuntimeError as error:
            raise OptionError(
                f"FAISS cannot add {len(vectors)} rows to this type of index: {_reason(error)}. Build the index again."
            ) from error
        self._mapped = False

    def clear(self) -> None:
        """Remove all rows, but keep the trained lists and codecs."""
        self.native.reset()
        self._mapped = False

    @property
    def is_graph(self) -> bool:
        """Whether rows are linked to their neighbours. Adding rows to such an index is slow."""
        return isinstance(_innermost(self.native), api.IndexHNSW | api.IndexBinaryHNSW)

    def write(self, path: Path) -> None:
        """Write the index to a new file at ``path``.

        Raises OSError if the disk is full, and `OptionError` for an index that `read` would reject, for example one
        whose transform divides by the spread of components that do not differ (PCAW).
        """
        # FAISS's own file writer loses an error of the last flush, Python's file object does not.
        write = api.write_index_binary if self.binary else api.write_index
        with open(path, "wb") as file:
            write(self.native, api.PyCallbackIOWriter(file.write, 1 << 20))
        check_written(path, dim=self.dim, binary=self.binary)

    def nearest(self, queries: Float32, count: int, *, bits: RowBits | None, depth: Depth) -> Int64:
        """Return the ``count`` rows nearest to each unit query by the index's own measure, shape (queries, count).

        Missing rows are -1. ``bits`` limits the search to some rows, for types with `supports_selector`. Raises
        `DamageError` if FAISS fails or finds a row that does not exist.
        """
        with _failure_is_damage("search"):
            rows = self._search(queries, count, bits, depth)
        if rows.size and (rows.min() < -1 or rows.max() >= len(self)):
            raise DamageError(
                f"the index returned row {rows.max()} of {len(self)}: its content is damaged. Build the index again."
            )
        return rows

    @cached_property
    def supports_selector(self) -> bool:
        """Whether a search of this type of index can be limited to some rows."""
        bits = numpy.full(-(-len(self) // 8), 255, dtype=numpy.uint8)
        try:
            self._search(numpy.ones((1, self.dim), dtype=numpy.float32), 1, bits, Depth())
        except RuntimeError:
            return False
        return True

    @cached_property
    def can_reconstruct(self) -> bool:
        """Whether this type of index can return its vectors, see `vectors`."""
        try:
            self._reconstruct(numpy.arange(min(1, len(self))))
        except RuntimeError:
            return False
        return True

    def vectors(self, rows: Int64) -> Float32:
        """Return the stored vectors of ``rows``, shape (rows, dim), of any length; +1 and -1 for a binary index.

        Raises `DamageError` if FAISS fails.
        """
        with _failure_is_damage("return vectors of"):
            return self._reconstruct(rows)

    def _search(self, queries: Float32, count: int, bits: RowBits | None, depth: Depth) -> Int64:
        selector = None if bits is None else api.IDSelectorBitmap(bits)
        references: list[Any] = [selector]
        depth = replace(depth, nodes=max(depth.nodes, count))
        params = _parameters(self.native, selector, depth, references)
        _, rows = self.native.search(self._coded(queries), count, params=params)
        return rows

    def _reconstruct(self, rows: Int64) -> Float32:
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
        """Make the table by which inverted lists find a row, on first use: 8 bytes per row, never written to disk."""
        if self._mapped:
            return
        with self._mapping:
            lists = lists_of(self.native)
            if lists is not None and not self._mapped:
                lists.set_direct_map_type(api.DirectMap.NoMap)
                lists.make_direct_map()
            self._mapped = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much of an approximate index a search visits. FAISS's own defaults (1 list, 16 nodes) lose too many hits.

    lists: inverted lists to visit; None means twice the square root of the number of lists, at least 8. A search that a
        filter limits visits at least 6.5 times as many.
    nodes: candidates kept open in a graph (efSearch).
    factor: candidates for each hit that the index's own refinement step rescores.
    widening: multiplies the lists; set by `within` and `filtered`.

    Recall of the true ten nearest on 20,000 package descriptions (384-d): graph 0.997, 512 lists 0.95.
    """

    lists: int | None = None
    nodes: int = 128
    factor: float = 10.0
    widening: float = 1.0

    def lists_of(self, total: int) -> int:
        """Return how many of ``total`` inverted lists to visit."""
        return min(total, round(self.widening * (self.lists or max(8, round(2 * total**0.5)))))

    def within(self, share: float) -> Depth:
        """Return the depth at which a search limited to this ``share`` of the rows still meets as many allowed rows."""
        nodes = max(self.nodes, min(MOST_NODES, math.ceil(self.nodes / share)))
        return replace(self, nodes=nodes, widening=self.widening / share)

    def filtered(self, share: float) -> Depth:
        """Return the depth of a search limited by a filter to this ``share`` of the rows, for 0.99 of the true nearest.

        Twice the nodes do for a graph. Lists need 6.5 times the default even if all rows are allowed: with 4.5 times as
        many, 1024 lists for 100,000 rows find only 0.985 of the true nearest among 90 % of the rows.
        """
        nodes = replace(self, nodes=2 * self.nodes).within(share).nodes
        return replace(self, nodes=nodes, factor=2 * self.factor, widening=self.widening * max(6.5, 2.5 / share))


def _parameters(native: Any, selector: Any, depth: Depth, references: list[Any]) -> Any:
    """Make FAISS's search parameters for this type of index; ``references`` keeps nested ones alive during a search."""
    native = _exact_type(native)
    parameters: Any = None
    if isinstance(native, api.IndexRefine):
        inner = _parameters(native.base_index, selector, depth, references)
        parameters = api.IndexRefineSearchParameters(k_factor=depth.factor, base_index_params=inner)
    elif isinstance(native, api.IndexPreTransform):
        inner = _parameters(native.index, selector, depth, references)
        parameters = None if inner is None else api.SearchParametersPreTransform(index_params=inner)
    elif isinstance(native, api.IndexHNSW | api.IndexBinaryHNSW):
        parameters = api.SearchParametersHNSW(sel=selector, efSearch=depth.nodes)
    elif isinstance(native, api.IndexIVF | api.IndexBinaryIVF):
        parameters = api.SearchParametersIVF(sel=selector, nprobe=depth.lists_of(native.nlist))
    elif selector is not None:
        parameters = api.SearchParameters(sel=selector)
    references.append(parameters)
    return parameters


def check_written(path: Path, *, dim: int, binary: bool) -> None:
    """Raise `OptionError` for a file written at ``path`` that `FaissIndex.read` would reject."""
    try:
        with open(path, "rb") as file:
            _check_file(file.fileno(), dim=dim, binary=binary)
    except FormatError as error:
        raise OptionError(
            f"the trained index cannot be used: {error}. Choose another factory, or index more documents."
        ) from error


def lists_of(native: Any) -> Any:
    """Return the inverted file inside ``native``, or None."""
    native = _exact_type(native)
    if isinstance(native, api.IndexPreTransform):
        return lists_of(native.index)
    return native if isinstance(native, api.IndexIVF | api.IndexBinaryIVF) else None


def _innermost(native: Any) -> Any:
    """Return the index that ``native`` searches first, below refinement and transforms."""
    native = _exact_type(native)
    if isinstance(native, api.IndexRefine):
        return _innermost(native.base_index)
    return _innermost(native.index) if isinstance(native, api.IndexPreTransform) else native


def _scalar_quantisers(native: Any) -> Iterator[Any]:
    """Yield the scalar quantisers inside ``native``."""
    native = _exact_type(native)
    inner = [
        getattr(native, name) for name in ("base_index", "refine_index", "index", "storage") if hasattr(native, name)
    ]
    for part in inner:
        yield from _scalar_quantisers(part)
    if hasattr(native, "sq"):
        yield native.sq


def _exact_type(native: Any) -> Any:
    return (api.downcast_IndexBinary if isinstance(native, api.IndexBinary) else api.downcast_index)(native)


def _check_file(descriptor: int, *, dim: int, binary: bool) -> None:
    """Raise `FormatError` for a file that FAISS must not read; loads only the pages that hold more than vectors."""
    if not os.fstat(descriptor).st_size:
        raise FormatError("it is empty")
    # No explicit close: arrays that look into the map live as long as a raised error.
    check_faiss_file(Fields(memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))), dim=dim, binary=binary)


def _read_native(path: str, *, binary: bool, memory_map: bool) -> Any:
    """Let FAISS read the index at ``path``; raises `FormatError` if FAISS cannot."""
    read = api.read_index_binary if binary else api.read_index
    try:
        native = read(path, api.IO_FLAG_MMAP_IFC if memory_map else 0)
    except (RuntimeError, MemoryError) as error:
        raise FormatError(_reason(error)) from error
    lists = lists_of(native)
    if isinstance(lists, api.IndexIVFPQFastScan):
        # FAISS 1.15 leaves this pointer empty when it reads such an index, and follows it to return a vector.
        lists.fine_quantizer = lists.pq
    return native


@contextlib.contextmanager
def _failure_is_damage(action: str) -> Iterator[None]:
    """Turn an error of FAISS into a `DamageError`: an index that leafkit built does not fail."""
    try:
        yield
    except RuntimeError as error:
        raise DamageError(f"FAISS cannot {action} this index: {_reason(error)}. Build the index again.") from error


@contextlib.contextmanager
def faiss_threads(count: int | None) -> Iterator[None]:
    """Let FAISS use ``count`` threads in this block, for calls from this thread. None keeps the FAISS default."""
    before = api.omp_get_max_threads()
    if count is not None:
        api.omp_set_num_threads(count)
    try:
        yield
    finally:
        api.omp_set_num_threads(before)


def _reason(error: RuntimeError | MemoryError) -> str:
    """Return the end of a FAISS message, without the C++ signature at its start."""
    return str(error).rsplit("Error: ", 1)[-1].strip().rstrip(".")
