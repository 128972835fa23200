"""What vectors must be before anything is stored, trained on or indexed."""

from __future__ import annotations

from typing import Any

import numpy

from leafkit.errors import VectorError
from leafkit.types import Float32


def check_vectors(vectors: Any, *, rows: int | None, dim: int | None, source: str, first: int = 0) -> Float32:
    """``vectors`` as float32 of shape (rows, dim); ``None`` leaves a side free. Rows count from ``first``.

    Raises `VectorError`, naming ``source`` and the first bad row, where vectors are missing or too many, have
    another width, hold NaN or infinity, or are zero (a zero vector has no direction to search or to learn).
    """
    try:
        # over: what float32 cannot hold becomes infinite, which is refused below
        with numpy.errstate(over="ignore"):
            checked = numpy.asarray(vectors).astype(numpy.float32, copy=False)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{source}: got something that is not an array of numbers ({error})") from error
    if checked.ndim != 2:
        raise VectorError(f"{source}: got an array of shape {checked.shape}, wanted (rows, width)")
    if rows is not None and len(checked) != rows:
        raise VectorError(f"{source}: got {len(checked)} vectors for {rows} texts, wanted one for each")
    if dim is not None and checked.shape[1] != dim:
        raise VectorError(f"{source}: got vectors of width {checked.shape[1]}, wanted {dim}")
    broken = numpy.flatnonzero(~numpy.isfinite(checked).all(axis=1))
    if len(broken):
        raise VectorError(
            f"{source}: row {first + broken[0]} holds NaN or infinity ({len(broken)} of {len(checked)} rows)"
        )
    zero = numpy.flatnonzero(~checked.any(axis=1))
    if len(zero):
        raise VectorError(f"{source}: row {first + zero[0]} is all zeros ({len(zero)} of {len(checked)} rows)")
    return checked
