"""Arrays on disk that appear whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy

from leafkit.files.atomic import write_file


def save_array(path: Path, array: numpy.ndarray) -> None:
    """Replace the .npy file at ``path`` by ``array`` in one step.

    Through memory, since numpy reports a full disk as an error without a number that says so.
    """
    content = io.BytesIO()
    numpy.save(content, array, allow_pickle=False)
    write_file(path, content.getvalue())
