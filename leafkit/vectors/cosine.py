"""Unit rows and cosines: one implementation for storing, training, searching and evaluating."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, VectorError
from leafkit.types import Float32

Floats = TypeVar("Floats", bound=NDArray[Any])

# float16 has a 10-bit mantissa: a unit vector read back from float16 is at most this far from length 1.
UNIT_TOLERANCE = 1e-3
# The smallest divisor: a row of zeros divided by it stays a row of zeros.
TINY = 1e-12


def unit_rows(vectors: Floats) -> Floats:
    """Scale each row of ``vectors`` (rows, dim) to length 1, without changing the dtype; a row of zeros stays zeros."""
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), TINY)


def are_unit(vectors: NDArray[Any]) -> bool:
    """Tell whether every row of ``vectors`` (rows, dim) has length 1, within the rounding of float16 storage."""
    with numpy.errstate(over="ignore"):
        lengths = numpy.linalg.norm(vectors.astype(numpy.float32, copy=False), axis=1)
    return bool((abs(lengths - 1) <= UNIT_TOLERANCE).all())


def row_cosines(left: Floats, right: Floats) -> Floats:
    """Return the cosine of each row of ``left`` with the same row of ``right``, (rows,); 0 if either row is zero."""
    return (unit_rows(left) * unit_rows(right)).sum(axis=1)


def check_dim(dim: int | None, width: int) -> int:
    """Return ``dim``, or ``width`` if ``dim`` is None; raise `OptionError` unless 1 <= dim <= width."""
    if dim is None:
        return width
    if not 1 <= dim <= width:
        raise OptionError(f"dim is {dim}; expected 1 to {width}, the width of the vector space.")
    return dim


def unit_prefix(vectors: NDArray[Any], dim: int, *, source: str) -> Float32:
    """Return the first ``dim`` components of each row, scaled to length 1; shape (rows, dim), float32, contiguous.

    Raises `VectorError` naming ``source`` and the first row that is not finite or whose prefix is all zeros. Such a
    row has no direction, so it has no cosine.
    """
    prefix = numpy.ascontiguousarray(vectors[:, :dim], dtype=numpy.float32)
    # Computed in float64: in float32, the square of a component below 1e-19 is zero.
    lengths = numpy.sqrt(numpy.einsum("rd,rd->r", prefix, prefix, dtype=numpy.float64))
    bad = ~numpy.isfinite(lengths) | (lengths == 0)
    if bad.any():
        row = int(numpy.argmax(bad))
        what = "only zeros" if lengths[row] == 0 else "a component that is not finite"
        raise VectorError(f"{source}: row {row} has {what} in its first {dim} components, so it has no cosine.")
    return (prefix / lengths[:, None]).astype(numpy.float32)


def cosines(query: Float32, vectors: Float32) -> Float32:
    """Return the cosine of the unit vector ``query`` (dim,) with each row of ``vectors`` (rows, dim), shape (rows,).

    The rows may have any length; a row of zeros gets 0. Each row is computed separately, so that its cosine does not
    depend on the other rows.
    """
    products = numpy.einsum("rd,d->r", vectors, query)
    lengths = numpy.sqrt(numpy.einsum("rd,rd->r", vectors, vectors))
    return numpy.clip(products / numpy.maximum(lengths, numpy.finfo(numpy.float32).tiny), -1, 1)
