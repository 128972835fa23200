"""Checks that vectors must pass before they are stored, trained on or indexed."""

from __future__ import annotations

from typing import Any

import numpy

from leafkit.errors import VectorError
from leafkit.types import Float32


def check_vectors(vectors: Any, *, rows: int | None, dim: int | None, source: str, first: int = 0) -> Float32:
    """Return ``vectors`` as a float32 array of shape (rows, dim).

    rows, dim: the expected shape; None accepts any number.
    source: what error messages call the vectors.
    first: the number of the first row in error messages.

    Raises `VectorError` naming ``source`` and the first bad row if vectors are missing or too many, have another
    width, contain NaN or infinity, or are all zeros (a zero vector has no direction to search for or to learn).
    """
    try:
        # A number too large for float32 becomes infinite, and infinity is rejected below.
        with numpy.errstate(over="ignore"):
            checked = numpy.asarray(vectors).astype(numpy.float32, copy=False)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{source}: expected an array of numbers ({error}).") from error
    if checked.ndim != 2:
        raise VectorError(f"{source}: the array has the shape {checked.shape}; expected (rows, width).")
    if rows is not None and len(checked) != rows:
        raise VectorError(f"{source}: there are {len(checked)} vectors for {rows} texts; expected one vector per text.")
    if dim is not None and checked.shape[1] != dim:
        raise VectorError(f"{source}: the vectors have the width {checked.shape[1]}; expected {dim}.")
    broken = numpy.flatnonzero(~numpy.isfinite(checked).all(axis=1))
    if len(broken):
        raise VectorError(
            f"{source}: row {first + broken[0]} contains NaN or infinity ({len(broken)} of {len(checked)} rows)."
        )
    zero = numpy.flatnonzero(~checked.any(axis=1))
    if len(zero):
        raise VectorError(f"{source}: row {first + zero[0]} is all zeros ({len(zero)} of {len(checked)} rows).")
    return checked
