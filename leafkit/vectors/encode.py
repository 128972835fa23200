"""Encoding texts whose roles differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from leafkit.types import Encoder, Float32, Role
from leafkit.vectors.check import check_vectors


def encode_by_role(encoder: Encoder, texts: Sequence[str], roles: Sequence[Role], *, source: str) -> Float32:
    """Vectors of ``texts``, each encoded in its own role, (rows, dim), in the order given.

    Raises `VectorError`, naming ``source``, for vectors that cannot be used.
    """
    dim = encoder.space.dim
    vectors = numpy.empty((len(texts), dim), dtype=numpy.float32)
    for role in sorted(set(roles)):
        at = [row for row, its in enumerate(roles) if its == role]
        encoded = encoder.encode([texts[row] for row in at], role)
        vectors[at] = check_vectors(encoded, rows=len(at), dim=dim, source=f"{source}, {role} texts")
    return vectors
