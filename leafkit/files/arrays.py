"""Atomic writes of NumPy arrays."""

from __future__ import annotations

import io
from pathlib import Path

import numpy

from leafkit.files.atomic import write_file


def save_array(path: Path, array: numpy.ndarray) -> None:
    """Write ``array`` to the .npy file at ``path``, atomically replacing any file there.

    The array is serialised in memory first. On a full disk ``numpy.save`` raises an error without an error number,
    and leafkit could not tell the user that the disk is full.
    """
    buffer = io.BytesIO()
    numpy.save(buffer, array, allow_pickle=False)
    write_file(path, buffer.getvalue())
