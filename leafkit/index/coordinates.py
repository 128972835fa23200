"""The coordinates an index keeps its documents in: the teacher's, its student's, rotated ones or a fold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from leafkit.errors import OptionError
from leafkit.extras import explain_missing_extras
from leafkit.index.fold import fold, fold_to
from leafkit.space import Space, require_same
from leafkit.students.query_moment import read_query_moment
from leafkit.types import Float32
from leafkit.vectors.mapping import LinearMap, read_mapping
from leafkit.vectors.rotation import check_kind, fit_rotation


@dataclass(frozen=True)
class Fitted:
    """``documents`` maps the teacher's vectors; ``student`` is what the student's head has yet to take in."""

    documents: LinearMap | None
    student: LinearMap | None


class Coordinates:
    """The steps from the teacher's vectors to those of an index, as far as they are known before its documents are.

    First come the coordinates that ``student`` was distilled in. With ``folding`` its fold follows, to ``dim`` numbers
    where that is given; then ``rotate``, fitted to the documents.
    """

    def __init__(
        self, space: Space, student: Path | None, *, folding: bool, dim: int | None, rotate: str | None, seed: int
    ) -> None:
        """For documents of ``space``; raises `SpaceError` for a student of another, `OptionError` for a bad ``dim``.

        Raises `InputError` for a student whose head cannot take a map in, or that does not know its queries.
        """
        if rotate is not None:
            check_kind(rotate)
        self._own = None if student is None else _own_coordinates(space, student)
        self._start = self._own.space if self._own else space
        self._rotate, self._seed = rotate, seed
        self._dim = dim if folding else None
        self._whole: LinearMap | None = None
        if student is None or not (folding or rotate):
            return
        # Also for a rotation, so that a head that cannot take it in is found before documents are encoded.
        head = _head(student)
        if folding:
            self._whole = fold(*head, read_query_moment(student, self._start), self._start)
            if dim is not None:
                check_fold(dim, self._whole)

    @property
    def width(self) -> int:
        """Numbers of a document, before a prefix is taken."""
        return self._dim or (self._whole.dim if self._whole else self._start.dim)

    @property
    def fits_documents(self) -> bool:
        """Whether the documents' vectors decide anything."""
        return self._rotate is not None or self._dim is not None

    def fitted(self, vectors: Float32) -> Fitted:
        """The maps, where they depend on documents fitted to ``vectors`` (rows, space.dim) of the teacher."""
        vectors = vectors if self._own is None else self._own.apply(vectors, "document")
        last = self._whole
        if last is not None and self._dim is not None:
            last = fold_to(self._dim, last, vectors)
        if self._rotate is not None:
            last = _rotated(last, self._rotate, vectors, self._start, self._seed)
        return Fitted(documents=self._own if last is None else last.after(self._own), student=last)


def check_fold(dim: int, whole: LinearMap) -> None:
    """Raise `OptionError` unless the fold ``whole`` can be cut to ``dim``."""
    if not 1 <= dim < whole.dim:
        raise OptionError(f"dim is {dim}, wanted 1 to {whole.dim - 1}: the whole fold of this student has {whole.dim}")


def _own_coordinates(space: Space, student: Path) -> LinearMap | None:
    from leafkit.students.folder import read_student

    facts = read_student(student)
    own = read_mapping(student, facts.space)
    who, whose = "the documents' teacher", f"the student {student}"
    if own is None or facts.space.id == space.id:
        require_same(space, facts.space, wanted_by=who, got_from=whose)
        return None
    require_same(space, own.base, wanted_by=who, got_from=whose)
    return own


def _head(student: Path) -> tuple[Float32, Float32]:
    with explain_missing_extras():
        from leafkit.onnx.head import read_head
    return read_head(student)


def _rotated(folded: LinearMap | None, kind: str, vectors: Float32, space: Space, seed: int) -> LinearMap:
    """``folded``, if anything, and then a rotation of what it keeps; a length stays where it is."""
    if folded is None:
        return fit_rotation(kind, vectors, space, seed=seed)
    kept = folded.apply(vectors, "document")[:, : len(folded.documents)]
    turn = fit_rotation(kind, kept, replace(space, dim=kept.shape[1]), seed=seed).documents
    return replace(folded, documents=turn @ folded.documents, queries=turn @ folded.queries)
