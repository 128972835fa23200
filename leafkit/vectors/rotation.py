"""Rotations of a teacher's space. They change no cosine, and can give a space what its training did not.

pca     sorts directions by how much vectors vary along them, so that the first numbers of a vector say most: Matryoshka
        truncation for any teacher.
itq     evens the spread of all directions out, so that signs say most: Iterative Quantization (Gong and Lazebnik, CVPR
        2011, section 2.2), for binary vectors.
random  mixes all directions alike: takes away what a space has, to see whether a student loses it as well.

None of them subtracts a mean: that would change cosines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.space import Space
from leafkit.types import Float32
from leafkit.vectors.mapping import LinearMap

Float64 = NDArray[numpy.float64]

SAMPLE = 50_000
ITERATIONS = 50


def fit_rotation(kind: str, vectors: Float32, space: Space, *, seed: int = 0) -> LinearMap:
    """The rotation of ``kind`` for ``space``, fitted to at most 50,000 of its document ``vectors`` (rows, dim).

    Raises `OptionError` for an unknown kind, or for fewer vectors than the space has directions.
    """
    check_kind(kind)
    if kind != "random" and len(vectors) < space.dim:
        raise OptionError(f"got {len(vectors)} vectors to fit the rotation {kind} to, wanted {space.dim} or more")
    draw = numpy.random.default_rng(seed)
    rows = numpy.sort(draw.permutation(len(vectors))[:SAMPLE])
    matrix = KINDS[kind](vectors[rows].astype(numpy.float64), draw).astype(numpy.float32)
    return LinearMap(base=space, kind=kind, documents=matrix, queries=matrix)


def check_kind(kind: str) -> None:
    """Raise `OptionError` unless ``kind`` names a rotation."""
    if kind not in KINDS:
        raise OptionError(f"unknown rotation {kind!r}; wanted one of {', '.join(KINDS)}")


def principal_directions(vectors: NDArray[Any]) -> Float64:
    """Directions by the second moment of ``vectors`` (rows, dim), one a row, the largest first: (dim, dim).

    Each points to where the sum of the vectors is positive.
    """
    exact = vectors.astype(numpy.float64)
    _, directions = numpy.linalg.eigh(exact.T @ exact)
    rows = directions[:, ::-1].T
    # An eigenvector has no sign of its own: without one, two machines would make two spaces.
    return rows * numpy.where(exact.sum(axis=0) @ rows.T < 0, -1.0, 1.0)[:, None]


def _pca(vectors: Float64, draw: numpy.random.Generator) -> Float64:
    return principal_directions(vectors)


def _random(vectors: Float64, draw: numpy.random.Generator) -> Float64:
    """Uniform over all rotations: QR of a normal matrix with the signs of R put right (Mezzadri 2007)."""
    width = vectors.shape[1]
    q, r = numpy.linalg.qr(draw.standard_normal((width, width)))
    return q * numpy.sign(numpy.diag(r))


def _itq(vectors: Float64, draw: numpy.random.Generator) -> Float64:
    """Turns signs and vectors towards each other in turns: B = sign(V R), then R from the SVD of B'V.

    ITQ wants vectors without a mean, and a rotation cannot take it away. It can put all of it into the first
    number: the others then have none, and only they are evened out.
    """
    mean = vectors.mean(axis=0)
    aside, _ = numpy.linalg.qr(numpy.column_stack([mean, numpy.eye(len(mean))]))
    turn = _random(vectors[:, 1:], draw) @ aside.T[1:]
    turned = vectors @ turn.T
    rotation = numpy.eye(len(turn))
    for _ in range(ITERATIONS):
        signs = numpy.where(turned @ rotation.T > 0, 1.0, -1.0)
        left, _, right = numpy.linalg.svd(signs.T @ turned)
        rotation = left @ right
    return numpy.concatenate([aside.T[:1], rotation @ turn])


KINDS: dict[str, Callable[[Float64, numpy.random.Generator], Float64]] = {"pca": _pca, "itq": _itq, "random": _random}
