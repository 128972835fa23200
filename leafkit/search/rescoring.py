"""Document vectors kept beside a lossy index, so that hits are scored with more than the index holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.types import Float32, Int64

_TYPES = {"float32": numpy.float32, "float16": numpy.float16, "int8": numpy.int8}


def encode(vectors: Float32, precision: str) -> NDArray[Any]:
    """Rows of ``vectors`` as ``float32``, ``float16`` or ``int8``.

    An int8 row is scaled so that its largest component is 127. The scale is not stored: a cosine does not
    depend on it. The error of a cosine is below ``largest / 127 * sqrt(dim)`` in the worst case and near
    ``largest / 440`` in the mean, where ``largest`` is the largest component of the unit row.
    """
    if precision != "int8":
        return vectors.astype(_TYPES[precision])
    largest = numpy.abs(vectors).max(axis=1, keepdims=True, initial=numpy.finfo(numpy.float32).tiny)
    return numpy.rint(vectors * (127 / largest)).astype(numpy.int8)


def decode(codes: NDArray[Any]) -> Float32:
    """Float32 rows of what `encode` wrote; their length is not 1."""
    return codes.astype(numpy.float32)


def write_kept(path: Path, blocks: Iterable[NDArray[Any]], *, shape: tuple[int, int], precision: str) -> None:
    """Write already encoded ``blocks`` that make up ``shape`` rows and columns as one ``.npy`` file."""
    header = {"descr": numpy.dtype(_TYPES[precision]).str, "fortran_order": False, "shape": shape}
    # Not through a memory map: a full disk must be an OSError, not a SIGBUS.
    with open(path, "wb") as file:
        numpy.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(numpy.ascontiguousarray(block).data)


def read_kept(path: Path, *, shape: tuple[int, int], precision: str, memory_map: bool) -> NDArray[Any]:
    """The array that `write_kept` wrote; raises `DamageError` where it is not of ``shape`` and ``precision``."""
    array = read_array(path, memory_map=memory_map)
    if array.shape != shape or array.dtype != _TYPES[precision]:
        raise DamageError(f"{path} holds {array.dtype} of shape {array.shape}, wanted {precision} of shape {shape}")
    return array


def read_array(path: Path, *, memory_map: bool) -> NDArray[Any]:
    """The ``.npy`` array at ``path``, never a pickle; raises `DamageError` where it is cut off or something else."""
    try:
        return numpy.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DamageError(f"{path} is not an array that leafkit wrote: {error}") from error


def blocks_of(array: NDArray[Any], rows: Int64 | None = None, size: int = 16_384) -> Iterable[NDArray[Any]]:
    """``array`` (only ``rows`` of it) in blocks, so that a memory map is never read as a whole."""
    total = len(array) if rows is None else len(rows)
    for start in range(0, total, size):
        chosen = slice(start, start + size) if rows is None else rows[start : start + size]
        yield numpy.asarray(array[chosen])
