"""The queries to measure with, and their vectors by the old model where something knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from leafkit.errors import InputError
from leafkit.evaluation.upgrade.old import OldFile, OldVectors, Pairs
from leafkit.index.embedded import embedded_file
from leafkit.space import require_same
from leafkit.teachers.agreement import agreement_with
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, open_in_space
from leafkit.texts.read import read_texts
from leafkit.types import Float32, Int64, Teacher
from leafkit.vectors.vectors_file import open_vectors_file

MOST_QUERIES = 2000  # that are measured without judgements: the new model encodes all of them


@dataclass(frozen=True, kw_only=True)
class GivenQueries:
    """Queries without judgements, and their old ``vectors`` (texts, dim) if they came with any."""

    texts: list[str]
    vectors: Float32 | None


def read_given_queries(path: Path, old: OldVectors, *, seed: int) -> GivenQueries:
    """Read the queries in ``path``, at most two thousand: a file of texts, or a vectors file of the old space.

    Raises `SpaceError` for vectors of another space, and `TextError` for texts that cannot be read.
    """
    if path.exists() and embedded_file(path) is not None:
        teacher = open_with(path, TeacherOptions())
        if open_vectors_file(path).label is not None:
            require_same(old.space, teacher.space, expected_by=str(old.path), got_from=str(path))
        if teacher.space.dim != old.space.dim:
            raise InputError(
                f"the vectors of {path} have the width {teacher.space.dim}; expected {old.space.dim}, the width of the "
                f"old vectors in {old.path}. Give the vectors that the old model wrote for the queries."
            )
        file = OldFile(path, teacher)
        pairs = file.sample("query", MOST_QUERIES, seed)
        pairs = pairs if pairs.texts else file.sample("document", MOST_QUERIES, seed)  # a log without roles
        return GivenQueries(texts=pairs.texts, vectors=old.stored(pairs.vectors))
    texts = list(dict.fromkeys(text.full_text for text in read_texts(path, role="query")))
    chosen = sorted(numpy.random.default_rng(seed).permutation(len(texts))[:MOST_QUERIES].tolist())
    return GivenQueries(texts=[texts[row] for row in chosen], vectors=None)


def known_by_old(texts: Sequence[str], old: OldVectors, model: Teacher | None) -> tuple[Int64, Float32]:
    """Return the rows of those ``texts`` whose old vectors are known, and these vectors, (rows, dim).

    ``model``, the old model, knows all of them; otherwise the logged queries in ``old`` may.
    """
    if model is not None:
        return numpy.arange(len(texts)), old.stored(model.encode(texts, "query"))
    found, vectors = old.find(texts, "query")
    return numpy.flatnonzero(found), old.stored(vectors)


def open_old_model(name: str, old: OldVectors, *, device: str | None) -> Teacher:
    """Open the old model ``name``; raise `SpaceError` unless it writes the vectors of ``old``."""
    owner, options = f"the old vectors in {old.path}", TeacherOptions(device=device)
    fingerprint = old.fingerprint()
    model = open_in_space(name, options, RecordedSpace(owner=owner, space=old.space, fingerprint=fingerprint))
    require_same(old.space, model.space, expected_by=owner, got_from=f"the old model {name}")
    return model


def check_new_model(new: Teacher, old: OldVectors) -> None:
    """Raise `InputError` if ``new`` writes the vectors of ``old``: then there is nothing to upgrade."""
    fingerprint = old.fingerprint()
    same = new.space.id == old.space.id
    if not same and fingerprint is not None:
        agreement = agreement_with(fingerprint, new)
        same = agreement is not None and agreement.is_same_space
    if same:
        raise InputError(
            f"the new model {new.space.teacher} writes the vectors that are in {old.path} already (space "
            f"{old.space.id}), so there is nothing to upgrade. Give the model to change to with --to."
        )


def draw_probes(documents: Pairs, count: int, seed: int) -> Int64:
    """Draw at most ``count`` rows of ``documents`` to search with, ascending."""
    return numpy.sort(numpy.random.default_rng(seed).permutation(len(documents.texts))[:count])
