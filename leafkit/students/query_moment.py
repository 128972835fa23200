"""The second moment of a student's query vectors: which directions of the space its queries use.

The moment is the mean of q q' over the student's vectors q of real queries.
"""

from __future__ import annotations

from pathlib import Path

import numpy
from numpy.typing import NDArray

from leafkit.errors import DamageError, InputError
from leafkit.files.arrays import read_array
from leafkit.files.atomic import atomic_file
from leafkit.files.json_file import explain_invalid
from leafkit.space import Space
from leafkit.students.contents import MOMENT as FILE
from leafkit.students.contents import check_file
from leafkit.students.folder import read_student
from leafkit.types import Float32

MOST_QUERIES = 4_096


def write_query_moment(folder: Path, queries: Float32) -> None:
    """Write the second moment of the student's vectors ``queries``, (rows, dim), into its ``folder``."""
    exact = queries.astype(numpy.float64)
    with atomic_file(folder / FILE) as file:
        numpy.save(file, (exact.T @ exact / len(exact)).astype(numpy.float32))


def read_query_moment(folder: Path, space: Space) -> NDArray[numpy.float64]:
    """Read the second moment, (dim, dim) float64, of the student in ``folder``.

    Raises `InputError` if the file is missing, and `DamageError` if it was changed or does not hold a second moment in
    ``space``.
    """
    file = folder / FILE
    if not file.is_file():
        raise InputError(
            f"{folder} does not say which directions its queries use ({FILE} is missing): the student was distilled "
            "by a version of leafkit that could not fold yet. Distil the student again, or index without folding."
        )
    facts = read_student(folder)
    if facts.version > 1:
        check_file(folder, FILE, facts.files.get(FILE, "none"))
    with explain_invalid(file, expected="an array that leafkit wrote", advice="Distil the student again."):
        moment = read_array(file).astype(numpy.float64)
    if moment.shape != (space.dim, space.dim) or not numpy.allclose(moment, moment.T, atol=1e-5):
        raise DamageError(
            f"{file} is not a second moment: its shape is {moment.shape}; expected a symmetric matrix of shape "
            f"({space.dim}, {space.dim}). Distil the student again."
        )
    return moment
