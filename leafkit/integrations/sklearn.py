"""scikit-learn: `StudentVectors`, a transformer from texts to vectors for pipelines. Needs scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from leafkit.errors import OptionError
from leafkit.search.query_encoder import Precision, QueryEncoder
from leafkit.types import Float32, Role


class StudentVectors(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A transformer that turns texts into the vectors of a student, as features of a classifier or a clustering.

    student: a student folder, or the name of a student that ships.
    role: the role in which texts are read. Vectors of queries may be compared with a teacher's documents.
    precision, threads: as in `leafkit.QueryEncoder.open`.

    Nothing is learned from the texts. The student is opened by the first call and left out of a pickle.
    """

    def __init__(
        self,
        student: str | Path = "bge-small-leaf",
        *,
        role: Role = "query",
        precision: Precision = "auto",
        threads: int = 1,
    ) -> None:
        self.student = student
        self.role: Role = role
        self.precision: Precision = precision
        self.threads = threads

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803
        """Open the student; raises the errors of `leafkit.QueryEncoder.open`. The texts are not read."""
        self._encoder = QueryEncoder.open(self.student, precision=self.precision, threads=self.threads)
        self._n_features_out = self._encoder.space.dim
        return self

    def transform(self, X: Iterable[str]) -> Float32:  # noqa: N803
        """Return the vectors of the texts ``X``, a list, an array or a column (texts,), as (texts, dim), float32.

        Raises `OptionError` for anything else.
        """
        if isinstance(X, str) or getattr(X, "ndim", 1) != 1:
            raise OptionError(
                f"X is a {type(X).__name__} of shape {getattr(X, 'shape', ())}; expected a list or one column of texts."
            )
        if not hasattr(self, "_encoder"):
            self.fit()
        return self._encoder.encode(list(X), self.role)

    def set_params(self, **params: Any) -> Self:
        """Set parameters; the next call opens the student again."""
        self.__dict__.pop("_encoder", None)
        return super().set_params(**params)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a pickle, without the open student."""
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_encoder"}

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn that this transformer needs no `fit`."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the input is texts and that nothing is learned."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.requires_fit = False
        return tags
