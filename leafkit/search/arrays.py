"""The arrays of an index package: opened without pickle, and read one block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.types import Int64


def read_array(path: Path, *, memory_map: bool) -> NDArray[Any]:
    """Open the ``.npy`` array at ``path``, as a memory map or read into memory.

    Raises `DamageError` if the file is truncated, holds a pickle or is not an array.
    """
    try:
        return numpy.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DamageError(
            f"{path} is not an array that leafkit wrote: {error}. Copy the index again or build it again."
        ) from error


def blocks_of(array: NDArray[Any], rows: Int64 | None = None, size: int = 16_384) -> Iterator[NDArray[Any]]:
    """Yield ``array``, or only its ``rows``, in blocks of ``size`` rows, so that a memory map is never read at once."""
    total = len(array) if rows is None else len(rows)
    for start in range(0, total, size):
        chosen = slice(start, start + size) if rows is None else rows[start : start + size]
        yield numpy.asarray(array[chosen])
