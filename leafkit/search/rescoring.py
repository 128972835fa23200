"""Rescoring vectors: a copy of the document vectors on disk, more exact than the index, from which hits are scored.

A lossy index only proposes candidates. Only `leafkit.index` calls `encode`, but `encode` and `decode` stand in one
file because they define one format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError
from leafkit.files.open_files import OpenFiles
from leafkit.search.arrays import read_array
from leafkit.types import Float32

DTYPES = {"float32": numpy.float32, "float16": numpy.float16, "int8": numpy.int8}


def encode(vectors: Float32, precision: str) -> NDArray[Any]:
    """Convert the unit rows of ``vectors`` (rows, dim) to ``float32``, ``float16`` or ``int8``.

    An int8 row is scaled so that its largest component is 127. The scale is not stored, because a cosine does not
    depend on it. The error of a cosine is below ``largest / 127 * sqrt(dim)`` in the worst case and near
    ``largest / 440`` in the mean, where ``largest`` is the largest component of the unit row.
    """
    if precision != "int8":
        return vectors.astype(DTYPES[precision])
    largest = numpy.abs(vectors).max(axis=1, keepdims=True, initial=numpy.finfo(numpy.float32).tiny)
    return numpy.rint(vectors * (127 / largest)).astype(numpy.int8)


def decode(codes: NDArray[Any]) -> Float32:
    """Convert rows written by `encode` back to float32. Their length is not 1."""
    return codes.astype(numpy.float32)


def read_rescoring_vectors(
    path: Path, files: OpenFiles, *, shape: tuple[int, int], precision: str, memory_map: bool
) -> NDArray[Any]:
    """Open the encoded rescoring vectors at ``path`` among ``files``.

    Raises `DamageError` for another ``shape`` or ``precision``.
    """
    array = read_array(path, files, memory_map=memory_map)
    if array.shape != shape or array.dtype != DTYPES[precision]:
        raise DamageError(
            f"{path} holds {array.dtype} of shape {array.shape}; expected {precision} of shape {shape}. "
            "Build the index again."
        )
    return array
