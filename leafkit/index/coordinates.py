"""The coordinates in which an index stores its documents: the teacher's, the student's, rotated or folded ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from leafkit.errors import OptionError, SpaceError
from leafkit.extras import explain_missing_extras
from leafkit.index.fold import fold, fold_to
from leafkit.space import Space, require_same
from leafkit.students.query_moment import read_query_moment
from leafkit.types import Float32
from leafkit.vectors.mapping import LinearMap, read_mapping
from leafkit.vectors.rotation import check_kind, fit_rotation


@dataclass(frozen=True)
class FittedMaps:
    """The maps into an index's coordinates; None where nothing changes.

    ``documents`` is applied to the teacher's document vectors. ``student_head`` is multiplied into the head of the
    student's query encoder, which already writes the coordinates that the student was distilled in.
    """

    documents: LinearMap | None
    student_head: LinearMap | None


class Coordinates:
    """The steps from the teacher's vectors to those of an index, planned before the documents are read.

    The steps are, in this order: the coordinates that the ``students`` were distilled in; with ``folding``, the fold
    of the only student, reduced to ``dim`` numbers if given; with ``rotate``, a rotation fitted to the documents.
    """

    def __init__(
        self, space: Space, students: Sequence[Path], *, folding: bool, dim: int | None, rotate: str | None, seed: int
    ) -> None:
        """Plan the steps for documents of ``space``.

        Raises `SpaceError` for a student of another space, `OptionError` for a ``dim`` that the fold cannot be reduced
        to or an unknown rotation, and `InputError` for a student whose head cannot be changed or that has no second
        moment of its queries.
        """
        if rotate is not None:
            check_kind(rotate)
        self._student_map = _common_map(space, students)
        self._student_space = self._student_map.space if self._student_map else space
        self._rotate, self._seed = rotate, seed
        self._dim = dim if folding else None
        self._fold: LinearMap | None = None
        if not (folding or rotate):
            return
        # Read for a rotation as well: a head that cannot be changed is an error before documents are encoded.
        heads = [_read_head(student) for student in students]
        if folding:
            ((weight, bias),), (student,) = heads, students
            self._fold = fold(weight, bias, read_query_moment(student, self._student_space), self._student_space)
            if dim is not None:
                check_fold_dim(dim, self._fold)

    @property
    def width(self) -> int:
        """The number of components of a document vector, before a prefix is taken."""
        return self._dim or (self._fold.dim if self._fold else self._student_space.dim)

    @property
    def fitted_to_documents(self) -> bool:
        """Whether a step depends on the vectors of the documents."""
        return self._rotate is not None or self._dim is not None

    def fit(self, vectors: Float32) -> FittedMaps:
        """Return the maps, after fitting the steps that need it to the teacher's ``vectors`` (rows, space.dim)."""
        vectors = vectors if self._student_map is None else self._student_map.apply(vectors, "document")
        step = self._fold
        if step is not None and self._dim is not None:
            step = fold_to(self._dim, step, vectors)
        if self._rotate is not None:
            step = _rotated(step, self._rotate, vectors, self._student_space, self._seed)
        documents = self._student_map if step is None else step.after(self._student_map)
        return FittedMaps(documents=documents, student_head=step)


def check_fold_dim(dim: int, whole_fold: LinearMap) -> None:
    """Raise `OptionError` unless ``whole_fold`` can be reduced to ``dim`` numbers."""
    if not 1 <= dim < whole_fold.dim:
        raise OptionError(
            f"dim is {dim}; expected 1 to {whole_fold.dim - 1}. The whole fold of this student has {whole_fold.dim} "
            "numbers; leave dim out to keep all of them."
        )


def _common_map(space: Space, students: Sequence[Path]) -> LinearMap | None:
    """Return the map from ``space`` to the coordinates that all ``students`` write; None if they write ``space``.

    Raises `SpaceError` for a student of another space, and for students of different rotations.
    """
    maps = [_student_map(space, student) for student in students]
    rotations = [None if found is None else found.name for found in maps]
    for student, rotation in zip(students, rotations, strict=True):
        if rotation != rotations[0]:
            raise SpaceError(
                f"the student {student} writes the coordinates {rotation or 'of its teacher'}, but {students[0]} "
                f"writes {rotations[0] or 'those of its teacher'}. Put students of different rotations into indexes of "
                "their own."
            )
    return maps[0] if maps else None


def _student_map(space: Space, student: Path) -> LinearMap | None:
    """Return the map from ``space`` to the coordinates that ``student`` was distilled in; None if it writes ``space``.

    Raises `SpaceError` for a student of another space.
    """
    from leafkit.students.folder import read_student

    facts = read_student(student)
    mapping = read_mapping(student, facts.space)
    expected_by, got_from = "the documents' teacher", f"the student {student}"
    if mapping is None or facts.space.id == space.id:
        require_same(space, facts.space, expected_by=expected_by, got_from=got_from)
        return None
    require_same(space, mapping.base, expected_by=expected_by, got_from=got_from)
    return mapping


def _read_head(student: Path) -> tuple[Float32, Float32]:
    with explain_missing_extras():
        from leafkit.onnx.head import read_head
    return read_head(student)


def _rotated(folded: LinearMap | None, kind: str, vectors: Float32, space: Space, seed: int) -> LinearMap:
    """Fit a rotation to ``vectors``, after the fold ``folded`` if given, and leave the fold's length component last."""
    if folded is None:
        return fit_rotation(kind, vectors, space, seed=seed)
    folded_vectors = folded.apply(vectors, "document")[:, : len(folded.documents)]
    rotation = fit_rotation(kind, folded_vectors, replace(space, dim=folded_vectors.shape[1]), seed=seed).documents
    return replace(folded, documents=rotation @ folded.documents, queries=rotation @ folded.queries)
