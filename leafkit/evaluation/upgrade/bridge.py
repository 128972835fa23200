"""Linear maps from one space to another, in closed form from texts whose vectors are known in both.

The map is the ridge regression that also starts a student's head (`leafkit.students.head.fit_head`). Each figure comes
from texts that the map was not fitted on: a text of the fitting set is mapped by a second map that was fitted without
the text's fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from leafkit.errors import InputError
from leafkit.students.head import MOST_TEXTS, Linear, fit_head
from leafkit.types import Float32, Int64

FOLDS = 5
# A map of fewer texts says nothing about a map of the whole index.
FEWEST_TEXTS = 100


@dataclass(frozen=True, kw_only=True)
class Bridge:
    """A linear map between two spaces.

    whole: fitted on all texts of the fitting set, for texts that are not in the set.
    parts: for each fold, the map that was fitted on the texts of the other folds.
    fitted: how many texts ``whole`` was fitted on.
    """

    whole: Linear
    parts: tuple[Linear, ...]
    fitted: int

    def apply(self, vectors: Float32) -> Float32:
        """Map ``vectors`` (rows, width) of texts outside the fitting set."""
        return self.whole.apply(vectors)

    def apply_held_out(self, vectors: Float32, folds: Int64) -> Float32:
        """Map each of ``vectors`` (rows, width) by the map that was not fitted on its fold; ``folds`` is (rows,)."""
        mapped = numpy.empty((len(vectors), len(self.whole.bias)), dtype=numpy.float32)
        for fold, part in enumerate(self.parts):
            mapped[folds == fold] = part.apply(vectors[folds == fold])
        return mapped


def draw_folds(texts: Sequence[str], seed: int) -> Int64:
    """Assign each of ``texts`` to one of `FOLDS` folds of equal size, (texts,); a repeated text stays in one fold."""
    _, distinct = numpy.unique(numpy.array(texts, dtype=object), return_inverse=True)
    folds = numpy.random.default_rng(seed).permutation(numpy.arange(distinct.max() + 1) % FOLDS)
    return folds[distinct]


def fit_bridge(source: Float32, target: Float32, folds: Int64, *, usable: NDArray[numpy.bool_], seed: int) -> Bridge:
    """Fit the map from ``source`` (rows, width) to ``target`` (rows, dim), vectors of the same texts.

    usable: the texts that may be fitted on, shape (texts,).
    """

    def fit(rows: NDArray[numpy.bool_]) -> Linear:
        chosen = numpy.flatnonzero(rows)
        if len(chosen) > MOST_TEXTS:
            chosen = numpy.random.default_rng(seed).choice(chosen, MOST_TEXTS, replace=False)
        return fit_head(source[chosen], target[chosen], seed=seed)

    parts = tuple(fit(usable & (folds != fold)) for fold in range(FOLDS))
    return Bridge(whole=fit(usable), parts=parts, fitted=min(int(usable.sum()), MOST_TEXTS))


def usable_rows(texts: Sequence[str], measured: Sequence[str]) -> NDArray[numpy.bool_]:
    """Tell which of ``texts`` a bridge may be fitted on: those that are no ``measured`` query, shape (texts,).

    Raises `InputError` for fewer than a hundred.
    """
    queries = set(measured)
    usable = numpy.array([text not in queries for text in texts], dtype=bool)
    if usable.sum() < FEWEST_TEXTS:
        raise InputError(
            f"there are {usable.sum()} texts to fit a bridge between the spaces on; expected at least {FEWEST_TEXTS}. "
            "Measure on more documents (--documents), or give old vectors of more texts."
        )
    return usable
