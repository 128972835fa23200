"""Folds: documents kept in the coordinates that one student's queries can tell apart, and in no others.

A student writes W h + b: h are its ``width`` hidden numbers, W its head (space.dim, width). Whatever the text, the
result lies in the span of the columns of [W b], which has at most width + 1 directions. Let the columns of Q be an
orthonormal basis of it. Then, for every document vector d,

    <W h + b, d> = <Q'(W h + b), Q'd>        and        |Q'(W h + b)| = |W h + b|,

so Q'd holds all that this student can ask of d, and cosines come out as they were. Ranking by <[h; 1], [W'd; b.d]>
would need as few numbers, but those of an orthonormal basis keep lengths and angles, on which int8, binary codes,
graphs and lists rely. Q'W and Q'b take the place of W and b, so that the query host computes no vector of the
teacher's width at all.

The hidden numbers of a transformer end in a layer norm: sum_i (h_i - beta_i) / gamma_i = 0 for each token, so for
their mean as well. That takes one direction from [W b], which is found by looking at the student's own vectors, and
makes place for the length of documents (`leafkit.mapping.Mapping`): width + 1 numbers in all, and width + 2 for a
token table.
"""

from __future__ import annotations

from dataclasses import replace

import numpy
from numpy.typing import NDArray

from leafkit.errors import OptionError
from leafkit.mapping.mapping import FOLD, Mapping
from leafkit.space import Space
from leafkit.types import Float32

Float64 = NDArray[numpy.float64]

# A direction with less than this share of the largest one's spread is one that rounding made.
ROUNDING = 1e-5
# Directions that no query was seen to use are not blown up beyond this share of the mean.
LEAST = 1e-3
# Documents that are added later may be a little longer than those that were there.
RESERVE = 1.05


def fold(weight: Float32, bias: Float32, moment: Float64, space: Space) -> Mapping:
    """All that a student with the head ``weight`` (dim, width) and ``bias`` (dim,) can ask; cosines do not change.

    ``moment`` (dim, dim) is the mean of q q' over vectors q that the student wrote, be they many or few.
    Raises `OptionError` for a head of another width than the space.
    """
    if len(weight) != space.dim:
        raise OptionError(f"got a head of {len(weight)} rows, wanted {space.dim}, the width of the space")
    reach, size, _ = numpy.linalg.svd(numpy.column_stack([weight, bias]).astype(numpy.float64), full_matrices=False)
    reach = reach[:, size > ROUNDING * size[0]]
    # Within what the head can write: what the student does write.
    spread, turn = numpy.linalg.eigh(reach.T @ moment @ reach)
    used = spread > ROUNDING**2 * spread[-1]
    # A layer norm takes one direction. Where more are missing, the queries were too few to know all.
    if numpy.count_nonzero(~used) > 1:
        used[:] = True
    basis = numpy.ascontiguousarray((reach @ turn[:, used][:, ::-1]).T, dtype=numpy.float32)
    return Mapping(base=space, kind=FOLD, documents=basis, queries=basis, length=len(basis) < space.dim)


def fold_to(dim: int, whole: Mapping, moment: Float64, documents: Float32) -> Mapping:
    """The fold ``whole`` cut to the ``dim`` - 1 directions that carry most of scores, and the length.

    A mean score, <q, E d>, moves all documents of a query alike, so rankings depend on <q, d - E d>. Let C be the
    covariance of ``documents`` (rows, space.dim) and A say which directions queries use (`expected_queries`), both
    within ``whole``. Keeping documents as X d and queries as Y q, the expected squared error of a score is

        E (q'(I - Y'X)(d - E d))^2 = | A^(1/2) (I - Y'X) C^(1/2) |_F^2,

    and the best Y'X of rank k makes A^(1/2) Y'X C^(1/2) the k leading singular triplets U S V' of A^(1/2) C^(1/2)
    (Eckart and Young 1936). X = U'A^(1/2) and Y = U'A^(-1/2) do: the principal components of documents, as
    queries see them. Queries decide what a direction is worth: a PCA of the documents alone is the case A = C or I.
    Raises `OptionError` where no two documents differ.
    """
    if not (documents[1:] != documents[:1]).any():
        raise OptionError(
            f"a fold is cut by how documents differ, and there are {len(documents)}, none unlike another; leave dim out"
        )
    basis = whole.documents.astype(numpy.float64)
    units = documents / numpy.linalg.norm(documents, axis=1, keepdims=True)
    seen = numpy.cov(units.astype(numpy.float64) @ basis.T, rowvar=False)
    values, vectors = numpy.linalg.eigh(expected_queries(basis @ moment @ basis.T, seen))
    values = values.clip(min=LEAST * values.mean())
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    _, directions = numpy.linalg.eigh(root @ seen @ root)
    kept = directions[:, ::-1][:, : dim - 1].T
    x, y = kept @ root @ basis, kept @ inverse @ basis
    # Documents must not become longer than 1; one factor for all changes no ranking.
    longest = numpy.linalg.norm(units @ x.T, axis=1).max() * RESERVE
    return replace(whole, documents=_float32(x / longest), queries=_float32(y * longest), length=True)


def expected_queries(moment: Float64, covariance: Float64) -> Float64:
    """Which directions queries of these documents will use, (dim, dim): half the student's queries, half the documents.

    ``moment`` is the mean q q' of the student's queries. Its leading direction is what all queries share, by which
    none asks for anything in particular: it counts as much as the second, not fifty times as much. And queries
    are about what the documents are about: ``covariance``.
    Chosen on dev queries of four collections (bge-small-en-v1.5, 192 of 384 numbers; share of nDCG@10 kept): the
    moment as it is 0.953, without its shared part 0.966, documents alone 0.954, half of each 0.967; at 128
    numbers 0.871, 0.894, 0.898 and 0.906.
    """
    values, vectors = numpy.linalg.eigh(moment)
    own = (vectors * numpy.minimum(values, values[-2])) @ vectors.T
    return (own / numpy.trace(own) + covariance / numpy.trace(covariance)) / 2


def _float32(matrix: Float64) -> Float32:
    return numpy.ascontiguousarray(matrix, dtype=numpy.float32)
