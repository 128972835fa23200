"""The arrays of an index package: opened without pickle, and read one block of rows at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.files.arrays import array_in
from leafkit.files.json_file import explain_invalid
from leafkit.files.open_files import OpenFiles
from leafkit.types import Int64


def read_array(path: Path, files: OpenFiles, *, memory_map: bool) -> NDArray[Any]:
    """Open the ``.npy`` array at ``path`` among ``files``, as a memory map or read into memory.

    Raises `DamageError` if the file is missing, truncated, holds a pickle or is not an array.
    """
    advice = "Copy the index again or build it again."
    with explain_invalid(path, expected="an array that leafkit wrote", advice=advice):
        return array_in(files.open(path), memory_map=memory_map)


def blocks_of(array: NDArray[Any], rows: Int64 | None = None, size: int = 16_384) -> Iterator[NDArray[Any]]:
    """Yield ``array``, or only its ``rows``, in blocks of ``size`` rows, so that a memory map is never read at once.

    The pages of a memory map are given back after each block. Otherwise they would count as memory of this process
    until the system needs them.
    """
    total = len(array) if rows is None else len(rows)
    for start in range(0, total, size):
        chosen = slice(start, start + size) if rows is None else rows[start : start + size]
        yield numpy.asarray(array[chosen])
        give_back(array)


def give_back(array: NDArray[Any]) -> None:
    """Give back the pages of ``array`` if it maps a file for reading; they are read again when they are needed."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and getattr(array, "mode", "") == "r":
        give_back_pages(mapped)


def give_back_pages(mapped: mmap.mmap) -> None:
    """Give back the pages of a file that is ``mapped`` for reading only; not every system can."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def select_bits(bits: NDArray[numpy.uint8], rows: Int64) -> NDArray[numpy.bool_]:
    """Tell for each of ``rows`` whether its bit is set in ``bits``: eight rows a byte, the lowest bit first."""
    return (bits[rows >> 3] >> (rows & 7).astype(numpy.uint8)) & 1 == 1
