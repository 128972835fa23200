"""Which directions a student's queries use: the mean of q q' over its vectors q of real queries."""

from __future__ import annotations

from pathlib import Path

import numpy

from leafkit.errors import DamageError, InputError
from leafkit.files.atomic import atomic_file
from leafkit.space import Space
from leafkit.types import Float32

FILE = "query_moment.npy"
MOST_QUERIES = 4_096


def write_moment(folder: Path, vectors: Float32) -> None:
    """Write the second moment of ``vectors`` (queries, dim) of a student into its ``folder``."""
    exact = vectors.astype(numpy.float64)
    with atomic_file(folder / FILE) as file:
        numpy.save(file, (exact.T @ exact / len(exact)).astype(numpy.float32))


def read_moment(folder: Path, space: Space) -> numpy.ndarray:
    """The second moment (dim, dim), float64, of the student in ``folder``.

    Raises `InputError` where there is none and `DamageError` where it is not one of ``space``.
    """
    file = folder / FILE
    if not file.is_file():
        raise InputError(
            f"{folder} does not say which directions its queries use ({FILE}): it was distilled before leafkit could "
            "fold; distil it again, or index without folding"
        )
    try:
        moment = numpy.load(file, allow_pickle=False).astype(numpy.float64)
    except (ValueError, EOFError) as error:
        raise DamageError(f"{file} is not an array that leafkit wrote: {error}") from error
    if moment.shape != (space.dim, space.dim) or not numpy.allclose(moment, moment.T, atol=1e-5):
        raise DamageError(f"{file} is no second moment of {space.dim} numbers: shape {moment.shape}")
    return moment
