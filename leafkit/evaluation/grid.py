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
_STAGES = (11, 101)
"""Ten and a hundred hits, and one for the query's own document."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One dimension and one precision of document vectors.

    ``dim`` leading components are kept. ``precision`` is an index's, optionally with what its hits are rescored
    by (``binary+float16``, ``binary+none``); without it, what `leafkit.build_index` would choose.
    """

    dim: int
    precision: str


def grid(space: Space, dims: Sequence[int] | None, precisions: Sequence[str] | None) -> list[Cell]:
    """Every pair of ``dims`` (the full one where None) and ``precisions`` (float32 where None).

    Raises `OptionError` that lists what is possible for a dim beyond the space or an unknown precision.
    """
    for dim in dims or ():
        if not 1 <= dim <= space.dim:
            raise OptionError(f"got the dim {dim}, wanted 1 to {space.dim}, the width of the vector space")
    for precision in precisions or ():
        stored, plus, rescored = precision.partition("+")
        if stored not in PRECISIONS or (plus and rescored not in RESCORES):
            raise OptionError(
                f"unknown precision {precision!r}; wanted one of {', '.join(PRECISIONS)}, and behind it what rescores "
                f"the hits, if not the default: +{', +'.join(RESCORES)}"
            )
    return [
        Cell(dim=dim, precision=precision)
        for dim in dict.fromkeys(dims or [space.dim])
        for precision in dict.fromkeys(precisions or [FULL_PRECISION])
    ]


def full_cell(space: Space) -> Cell:
    """The cell that loses nothing: full width, float32."""
    return Cell(dim=space.dim, precision=FULL_PRECISION)


def truncated(vectors: Float32, dim: int) -> Float32:
    """``vectors`` as they are at full width, else their first ``dim`` components at unit length."""
    return vectors if dim == vectors.shape[1] else unit_prefix(vectors, dim, source="the vectors")


class CellFinder:
    """Exhaustive search over documents stored as a cell says; int8 ranges come from these documents."""

    def __init__(self, documents: Float32, cell: Cell) -> None:
        """Store ``documents`` (rows, width)."""
        stored, _, rescored = cell.precision.partition("+")
        self._dim = cell.dim
        self._index: VectorSearch | None = None
        self._held = documents
        if stored != FULL_PRECISION:
            self._index = search_in_memory(
                documents,
                dim=cell.dim,
                precision=stored,
                factory=_EXACT[stored],
                rescore=rescored or None,
                threads=None,
            )
            self._held = self._index.vectors(numpy.arange(len(documents)))
        self._held = unit_prefix(self._held, cell.dim, source="the documents")

    def nearest(self, queries: Float32, k: int) -> Neighbours:
        """The ``k`` nearest documents of each query by cosine, best first; k at most the number of documents.

        How many candidates an index rescores grows with the hits asked for, so a search for a thousand would rank
        its first ten better than the search for ten that users run. Therefore ten are searched as an index does,
        then a hundred; all that is held is scored for the rest. What only a deeper search finds ranks below, with
        scores 4 lower for each step.
        """
        stages = [] if self._index is None else [self._index.search(queries, hits) for hits in _STAGES if hits < k]
        units = unit_prefix(queries, self._dim, source="the queries")
        stages.append(Neighbours(*faiss.knn(units, self._held, k, metric=faiss.METRIC_INNER_PRODUCT)))
        found = stages[0]
        for step, deeper in enumerate(stages[1:], 1):
            found = _followed(found, deeper, 4 * step)
        return found


def _followed(first: Neighbours, deeper: Neighbours, lowered: int) -> Neighbours:
    """``first``, then what only ``deeper`` found, as many hits as ``deeper`` has."""
    hits = deeper.rows.shape[1]
    rows, scores = [], []
    for i in range(len(first.rows)):
        late = ~numpy.isin(deeper.rows[i], first.rows[i])
        rows.append(numpy.concatenate([first.rows[i], deeper.rows[i][late]])[:hits])
        scores.append(numpy.concatenate([first.scores[i], deeper.scores[i][late] - lowered])[:hits])
    return Neighbours(numpy.stack(scores), numpy.stack(rows))
