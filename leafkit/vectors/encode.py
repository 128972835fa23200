"""Encode texts of different roles in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.check import check_vectors


def encode_by_role(encoder: Encoder, texts: Sequence[str], roles: Sequence[Role], *, source: str) -> Float32:
    """Encode each text in its own role and return the vectors, (rows, dim), in the order of ``texts``.

    source: what error messages call the encoder.

    Raises `VectorError` for vectors that cannot be used (`check_vectors`).
    """
    dim = encoder.space.dim
    vectors = numpy.empty((len(texts), dim), dtype=numpy.float32)
    for role in sorted(set(roles)):
        rows = [row for row, of_row in enumerate(roles) if of_row == role]
        encoded = encoder.encode([texts[row] for row in rows], role)
        vectors[rows] = check_vectors(encoded, rows=len(rows), dim=dim, source=f"{source}, {role} texts")
    return vectors
