"""Unit rows and cosines, computed in one place for storing, training, searching and evaluating."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError, VectorError
from leafkit.types import Float32

Floats = TypeVar("Floats", bound=NDArray[Any])

# float16 has a 10-bit mantissa: a unit vector read back from float16 is at most this far from length 1.
UNIT_TOLERANCE = 1e-3
# The divisor for a row of zeros, which therefore stays a row of zeros.
TINY = 1e-12


def unit_rows(vectors: Floats) -> Floats:
    """Scale each row of ``vectors`` (rows, dim) to length 1, in the dtype given; a row of zeros stays zeros."""
    return vectors / numpy.maximum(numpy.linalg.norm(vectors, axis=1, keepdims=True), TINY)


def are_unit(vectors: NDArray[Any]) -> bool:
    """Tell whether every row of ``vectors`` (rows, dim) has length 1, within the rounding of float16 storage."""
    with numpy.errstate(over="ignore"):
        lengths = numpy.linalg.norm(vectors.astype(numpy.float32, copy=False), axis=1)
    return bool((abs(lengths - 1) <= UNIT_TOLERANCE).all())


def row_cosines(left: Floats, right: Floats) -> Floats:
    """The cosine of each row of ``left`` with the same row of ``right``, (rows,); 0 where either row is zero."""
    return (unit_rows(left) * unit_rows(right)).sum(axis=1)


def check_dim(dim: int | None, width: int) -> int:
    """``dim`` itself, or ``width`` where it is None; raises `OptionError` unless 1 <= dim <= width."""
    if dim is None:
        return width
    if not 1 <= dim <= width:
        raise OptionError(f"dim is {dim}, wanted 1 to {width}, the width of the vector space")
    return dim


def unit_prefix(vectors: NDArray[Any], dim: int, *, source: str) -> Float32:
    """The first ``dim`` components of each row, scaled to length 1; shape (rows, dim), float32, contiguous.

    Raises `VectorError` naming ``source`` and the first row that is not finite or whose prefix is all zeros:
    such a row has no direction, hence no cosine.
    """
    prefix = numpy.ascontiguousarray(vectors[:, :dim], dtype=numpy.float32)
    # float64: the square of a component below 1e-19 is lost in float32
    lengths = numpy.sqrt(numpy.einsum("rd,rd->r", prefix, prefix, dtype=numpy.float64))
    bad = ~numpy.isfinite(lengths) | (lengths == 0)
    if bad.any():
        row = int(numpy.argmax(bad))
        what = "only zeros" if lengths[row] == 0 else "a component that is not finite"
        raise VectorError(f"{source}: row {row} has {what} in its first {dim} components, so it has no cosine")
    return (prefix / lengths[:, None]).astype(numpy.float32)


def cosines(query: Float32, vectors: Float32) -> Float32:
    """The cosine of the unit ``query`` (dim,) with each row of ``vectors`` (rows, dim), which may have any length.

    Row by row, so that a row's score does not depend on which other rows are scored with it.
    A row of zeros scores 0.
    """
    products = numpy.einsum("rd,d->r", vectors, query)
    lengths = numpy.sqrt(numpy.einsum("rd,rd->r", vectors, vectors))
    return numpy.clip(products / numpy.maximum(lengths, numpy.finfo(numpy.float32).tiny), -1, 1)
