"""Rotations of a teacher's vector space: they keep all cosines but change how much information each component carries.

pca     sorts directions by the variance of the vectors along them, so that the first components carry the most
        information: Matryoshka truncation for any teacher.
itq     equalises the variance of all directions, so that the signs of the components carry the most information:
        Iterative Quantization (Gong and Lazebnik, CVPR 2011, section 2.2), for binary vectors.
random  mixes all directions evenly: a baseline without this structure, to test whether a student needs the structure.

No rotation subtracts a mean, since that would change cosines.
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
    """Fit the rotation ``kind`` of ``space`` to document vectors of the space and return the rotation.

    kind: ``pca``, ``itq`` or ``random``.
    vectors: shape (rows, dim); a random sample of at most 50,000 rows is used.
    seed: the seed of the sample and of the random initialisation.

    Raises `OptionError` for an unknown kind, and for fewer vectors than dimensions (except for ``random``).
    """
    check_kind(kind)
    if kind != "random" and len(vectors) < space.dim:
        raise OptionError(
            f"there are {len(vectors)} vectors to fit the rotation {kind} to; "
            f"expected at least {space.dim}, the width of the space."
        )
    draw = numpy.random.default_rng(seed)
    rows = numpy.sort(draw.permutation(len(vectors))[:SAMPLE])
    matrix = KINDS[kind](vectors[rows].astype(numpy.float64), draw).astype(numpy.float32)
    return LinearMap(base=space, kind=kind, documents=matrix, queries=matrix)


def check_kind(kind: str) -> None:
    """Raise `OptionError` unless ``kind`` names a rotation."""
    if kind not in KINDS:
        raise OptionError(f"unknown rotation {kind!r}; expected one of {', '.join(KINDS)}.")


def principal_directions(vectors: NDArray[Any]) -> Float64:
    """Return the eigenvectors of the second moment of ``vectors`` (rows, dim), one per row, largest first: (dim, dim).

    The sign of each eigenvector is chosen so that its product with the sum of the vectors is not negative.
    """
    exact = vectors.astype(numpy.float64)
    _, directions = numpy.linalg.eigh(exact.T @ exact)
    rows = directions[:, ::-1].T
    # The sign of an eigenvector is arbitrary: without a rule, two machines would compute two different spaces.
    return rows * numpy.where(exact.sum(axis=0) @ rows.T < 0, -1.0, 1.0)[:, None]


def _pca(vectors: Float64, draw: numpy.random.Generator) -> Float64:
    return principal_directions(vectors)


def _random(vectors: Float64, draw: numpy.random.Generator) -> Float64:
    """Draw uniformly from all rotations: QR of a normal matrix, with the signs of R made positive (Mezzadri 2007)."""
    width = vectors.shape[1]
    q, r = numpy.linalg.qr(draw.standard_normal((width, width)))
    return q * numpy.sign(numpy.diag(r))


def _itq(vectors: Float64, draw: numpy.random.Generator) -> Float64:
    """Alternate two steps: the signs B = sign(V R) of the rotated vectors, then the best R from the SVD of B'V.

    ITQ expects vectors of mean zero, but a rotation cannot subtract the mean. Instead, the mean is rotated into the
    first component. The other components then have mean zero, and ITQ is applied to these alone.
    """
    mean = vectors.mean(axis=0)
    # The first column of the basis is the direction of the mean, the others are orthogonal to the mean.
    basis, _ = numpy.linalg.qr(numpy.column_stack([mean, numpy.eye(len(mean))]))
    start = _random(vectors[:, 1:], draw) @ basis.T[1:]
    projected = vectors @ start.T
    rotation = numpy.eye(len(start))
    for _ in range(ITERATIONS):
        signs = numpy.where(projected @ rotation.T > 0, 1.0, -1.0)
        left, _, right = numpy.linalg.svd(signs.T @ projected)
        rotation = left @ right
    return numpy.concatenate([basis.T[:1], rotation @ start])


KINDS: dict[str, Callable[[Float64, numpy.random.Generator], Float64]] = {"pca": _pca, "itq": _itq, "random": _random}
