"""Fill inverted lists that are larger than memory: assign vectors in runs, and merge the runs list by list on disk.

A run of rows is added to the trained index, whose lists are then moved to a file. At the end, the index file is
written list after list, each from all runs. It equals, byte for byte, the file of an index that was filled in memory.
An update reads the lists of the old file as one more run.
The layout is that of FAISS 1.15 (``write_InvertedLists`` in ``faiss/impl/index_write.cpp``).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy
from numpy.typing import NDArray

from leafkit.search.arrays import blocks_of
from leafkit.search.faiss_index import FaissIndex, api, check_written, lists_of
from leafkit.types import Float32, Int64

# The rows of a run. Lists grow by doubling: a run of 384 float32 takes at most 400 MB.
RUN_ROWS = 131_072
_ID = 8  # bytes of a row's number


def can_fill_on_disk(index: FaissIndex) -> bool:
    """Tell whether the file of ``index`` ends with inverted lists that can be written one after another.

    That is so for IVF with Flat, SQ, PQ and RaBitQ codes, also behind transforms. FastScan codes are stored in blocks,
    and an index that refines holds its vectors a second time behind the lists.
    """
    return not index.binary and lists_of(index.native) is not None and _header_without_lists(index, 0) is not None


def fill_on_disk(
    index: FaissIndex,
    vectors: Float32,
    path: Path,
    spool: Path,
    *,
    advance: Callable[[int], object] = lambda _: None,
    stored: StoredLists | None = None,
) -> None:
    """Write the file at ``path`` of the trained, empty ``index`` with all ``vectors`` (rows, dim).

    spool: a temporary file as large as the lists of ``vectors``.
    advance: called with the number of rows after each block.
    stored: the lists of another file, whose rows come before those of ``vectors``.

    Raises OSError for a full disk and `OptionError` as `FaissIndex.write` does. ``index`` is empty again afterwards.
    """
    before = 0 if stored is None else stored.rows
    with _spooled(spool) as file, contextlib.ExitStack() as opened:
        runs: list[_Run] = []
        if stored is not None:
            runs.append(_Run.in_index(stored, opened.enter_context(open(stored.path, "rb"))))
        for first in range(0, len(vectors), RUN_ROWS):
            for block in blocks_of(vectors[first : first + RUN_ROWS]):
                index.add(block)
                advance(len(block))
            runs.append(_Run.moved_from(lists_of(index.native), before + first, file))
            index.clear()
        _write_merged(index, runs, path, rows=before + len(vectors))


@dataclass(frozen=True)
class StoredLists:
    """The lists at the end of the index file at ``path``, which holds ``rows``; ``sizes`` are the rows of each list."""

    path: Path
    rows: int
    sizes: Int64
    code_size: int


def take_lists(index: FaissIndex, path: Path) -> StoredLists | None:
    """Empty ``index``, which was opened from ``path`` with a memory map, and return the lists that its file holds.

    Returns None for an index that `can_fill_on_disk` cannot fill, which is then of no further use.
    """
    native = None if index.binary else lists_of(index.native)
    if native is None or not isinstance(api.downcast_InvertedLists(native.invlists), api.ArrayInvertedLists):
        return None
    stored = StoredLists(path, len(index), _sizes(native), native.code_size)
    empty = api.ArrayInvertedLists(native.nlist, native.code_size)
    native.replace_invlists(empty, True)
    empty.this.disown()
    native.set_direct_map_type(api.DirectMap.NoMap)
    index.native.ntotal = native.ntotal = 0
    return stored if can_fill_on_disk(index) else None


@dataclass(frozen=True)
class _Run:
    """The lists of some rows in ``file``: for each list its codes, then the numbers of its rows.

    ``starts`` are the places of the lists in the file and the end of the last; ``sizes`` are their rows.
    """

    file: BinaryIO
    starts: Int64
    sizes: Int64
    code_size: int

    @classmethod
    def moved_from(cls, native: Any, first: int, file: BinaryIO) -> _Run:
        """Append the lists of the IVF index ``native`` to ``file``; the first row has the number ``first``."""
        sizes = _sizes(native)
        for number in numpy.flatnonzero(sizes).tolist():
            codes, ids = _list(native, number, int(sizes[number]))
            file.write(codes.data)
            file.write((ids + first).data)
        file.flush()
        ends = numpy.cumsum(sizes * (native.code_size + _ID))
        start = file.tell() - int(ends[-1])
        return cls(file, start + numpy.concatenate([[0], ends]), sizes, native.code_size)

    @classmethod
    def in_index(cls, stored: StoredLists, file: BinaryIO) -> _Run:
        """Return the lists that ``file``, an index, ends with."""
        ends = numpy.cumsum(stored.sizes * (stored.code_size + _ID))
        start = file.seek(0, 2) - int(ends[-1])
        return cls(file, start + numpy.concatenate([[0], ends]), stored.sizes, stored.code_size)

    def codes(self, number: int) -> bytes:
        """Return the codes of the rows in a list."""
        self.file.seek(int(self.starts[number]))
        return self.file.read(int(self.sizes[number]) * self.code_size)

    def ids(self, number: int) -> bytes:
        """Return the numbers of the rows in a list."""
        self.file.seek(int(self.starts[number + 1] - self.sizes[number] * _ID))
        return self.file.read(int(self.sizes[number]) * _ID)


def _write_merged(index: FaissIndex, runs: Sequence[_Run], path: Path, *, rows: int) -> None:
    """Write the file at ``path`` of the trained, empty ``index`` with the lists of all ``runs``, ``rows`` in all."""
    header = _header_without_lists(index, rows)
    native = lists_of(index.native)
    sizes = sum((run.sizes for run in runs), numpy.zeros(native.nlist, dtype=numpy.int64))
    with open(path, "wb") as file:
        file.write((header or b"") + _lists_header(native, sizes))
        for number in numpy.flatnonzero(sizes).tolist():
            for run in runs:
                file.write(run.codes(number))
            for run in runs:
                file.write(run.ids(number))
    check_written(path, dim=index.dim, binary=False)


def _header_without_lists(index: FaissIndex, rows: int) -> bytes | None:
    """Return what comes before the lists in the file of ``index`` with ``rows``; None if something comes behind them.

    The lists of ``index`` must be empty.
    """
    native, empty = lists_of(index.native), numpy.zeros(0, dtype=numpy.int64)
    outer = index.native
    before = outer.ntotal, native.ntotal
    outer.ntotal = native.ntotal = rows
    try:
        content = api.serialize_index(outer).tobytes()
    finally:
        outer.ntotal, native.ntotal = before
    end = _lists_header(native, empty)
    return content.removesuffix(end) if content.endswith(end) else None


def _lists_header(native: Any, sizes: Int64) -> bytes:
    """Return what FAISS writes before the lists: the size of each, or of those that are not empty if these are few."""
    start = b"ilar" + struct.pack("<QQ", native.nlist, native.code_size)
    filled = numpy.flatnonzero(sizes)
    if len(filled) > native.nlist // 2:
        return start + b"full" + struct.pack("<Q", len(sizes)) + sizes.astype("<u8").tobytes()
    pairs = numpy.stack([filled, sizes[filled]], axis=1).astype("<u8")
    return start + b"sprs" + struct.pack("<Q", pairs.size) + pairs.tobytes()


def _sizes(native: Any) -> Int64:
    return numpy.array([native.invlists.list_size(number) for number in range(native.nlist)], dtype=numpy.int64)


def _list(native: Any, number: int, size: int) -> tuple[NDArray[numpy.uint8], Int64]:
    """Return views of the codes and of the numbers of the rows in a list, which is not empty."""
    codes = api.rev_swig_ptr(native.invlists.get_codes(number), size * native.code_size)
    return codes, api.rev_swig_ptr(native.invlists.get_ids(number), size)


@contextlib.contextmanager
def _spooled(path: Path) -> Iterator[BinaryIO]:
    """Open the temporary file ``path`` for writing and reading, and delete it afterwards."""
    try:
        with open(path, "w+b") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)
