"""The grid of dims x precisions: each cell is searched as an index package of that dim and precision would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy

from leafkit.errors import OptionError
from leafkit.index.fill import search_in_memory
from leafkit.search.plan import CODECS, PRECISIONS, RESCORES
from leafkit.search.vector_search import Neighbours, VectorSearch
from leafkit.space import Space
from leafkit.types import Float32
from leafkit.vectors.cosine import unit_prefix

FULL_PRECISION = "float32"
_EXACT = {**CODECS, "binary": "BFlat"}

# Searches for ten and for a hundred hits, as users run them, each with one more hit for the query's own document.
_USER_SEARCHES = (11, 101)
# Two cosines differ by at most 2. Lowering scores by twice as much keeps the hits of two searches clearly apart.
_SCORE_GAP = 4


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the grid: the dim and the precision in which document vectors are stored.

    ``dim`` is the number of leading components that are kept. ``precision`` is the precision of an index, optionally
    followed by the precision that rescores its hits (``binary+float16``, ``binary+none``). The default for rescoring
    is that of `leafkit.build_index`.
    """

    dim: int
    precision: str


def grid(space: Space, dims: Sequence[int] | None, precisions: Sequence[str] | None) -> list[Cell]:
    """Return a cell for every pair of ``dims`` (default: the full dim) and ``precisions`` (default: float32).

    Raises `OptionError` with the possible values for a dim outside the space or an unknown precision.
    """
    for dim in dims or ():
        if not 1 <= dim <= space.dim:
            raise OptionError(f"dim is {dim}; expected 1 to {space.dim}, the width of the vector space.")
    for precision in precisions or ():
        stored, plus, rescored = precision.partition("+")
        if stored not in PRECISIONS or (plus and rescored not in RESCORES):
            raise OptionError(
                f"unknown precision {precision!r}; expected one of {', '.join(PRECISIONS)}, optionally followed by the "
                f"precision that rescores the hits: +{', +'.join(RESCORES)}."
            )
    return [
        Cell(dim=dim, precision=precision)
        for dim in dict.fromkeys(dims or [space.dim])
        for precision in dict.fromkeys(precisions or [FULL_PRECISION])
    ]


def full_cell(space: Space) -> Cell:
    """Return the cell without any loss: full dim, float32."""
    return Cell(dim=space.dim, precision=FULL_PRECISION)


def truncate(vectors: Float32, dim: int) -> Float32:
    """Return the first ``dim`` components of ``vectors`` at unit length; ``vectors`` unchanged at full width."""
    return vectors if dim == vectors.shape[1] else unit_prefix(vectors, dim, source="the vectors")


class CellFinder:
    """Exhaustive search over documents stored as a grid cell says; int8 ranges come from these documents."""

    def __init__(self, documents: Float32, cell: Cell) -> None:
        """Store ``documents`` (rows, width)."""
        stored, _, rescored = cell.precision.partition("+")
        self._dim = cell.dim
        self._index: VectorSearch | None = None
        vectors = documents
        if stored != FULL_PRECISION:
            self._index = search_in_memory(
                documents,
                dim=cell.dim,
                precision=stored,
                factory=_EXACT[stored],
                rescore=rescored or None,
                threads=None,
            )
            vectors = self._index.vectors(numpy.arange(len(documents)))
        self._vectors = unit_prefix(vectors, cell.dim, source="the documents")

    def hits(self, queries: Float32, k: int) -> Neighbours:
        """Return the ``k`` nearest documents of each query (queries, width) as one search of an index finds them.

        The scores are cosines.
        """
        if self._index is not None:
            return self._index.search(queries, k)
        units = unit_prefix(queries, self._dim, source="the queries")
        return Neighbours(*faiss.knn(units, self._vectors, k, metric=faiss.METRIC_INNER_PRODUCT))

    def nearest(self, queries: Float32, k: int) -> Neighbours:
        """Return the ``k`` nearest documents of each query by cosine, best first.

        ``queries`` has the shape (queries, width); ``k`` is at most the number of documents.

        The more hits a search requests, the more candidates an index rescores. One search for a thousand hits would
        therefore rank its first ten better than the search for ten hits that users run. So the hits come from three
        searches: by the index for 11 hits, by the index for 101 hits, and over all stored vectors for ``k`` hits.
        Each search adds the hits that the searches before it missed, below all earlier hits.

        Scores keep that order. The first search's scores are cosines. A hit added by the second search scores its
        cosine - 4, one added by the third its cosine - 8. Cosines lie in -1 to 1, so the groups cannot overlap.
        """
        searches = (
            [] if self._index is None else [self._index.search(queries, hits) for hits in _USER_SEARCHES if hits < k]
        )
        units = unit_prefix(queries, self._dim, source="the queries")
        searches.append(Neighbours(*faiss.knn(units, self._vectors, k, metric=faiss.METRIC_INNER_PRODUCT)))
        found = searches[0]
        for number, deeper in enumerate(searches[1:], 1):
            found = _append_missed(found, deeper, lowered=_SCORE_GAP * number)
        return found


def _append_missed(first: Neighbours, deeper: Neighbours, *, lowered: int) -> Neighbours:
    """Return ``first`` followed by the hits that only ``deeper`` found, to as many hits as ``deeper`` has.

    The scores of the added hits are reduced by ``lowered``.
    """
    hits = deeper.rows.shape[1]
    rows, scores = [], []
    for i in range(len(first.rows)):
        missed = ~numpy.isin(deeper.rows[i], first.rows[i])
        rows.append(numpy.concatenate([first.rows[i], deeper.rows[i][missed]])[:hits])
        scores.append(numpy.concatenate([first.scores[i], deeper.scores[i][missed] - lowered])[:hits])
    return Neighbours(numpy.stack(scores), numpy.stack(rows))
