"""Measure the ways to go on without an old model: what ``leafkit upgrade`` does."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OptionError
from leafkit.evaluation.collection import Collection, check_folder, read_collection
from leafkit.evaluation.upgrade.assemble import cost_of_ways, make_report
from leafkit.evaluation.upgrade.measure import Material, Models, measure
from leafkit.evaluation.upgrade.old import OldVectors, Pairs, open_old
from leafkit.evaluation.upgrade.options import UpgradeOptions
from leafkit.evaluation.upgrade.queries import MOST_QUERIES, check_new_model, open_old_model, read_given_queries
from leafkit.evaluation.upgrade.report import UpgradeReport
from leafkit.evaluation.upgrade.student import open_old_student, train_old_student
from leafkit.files.options import CacheOptions
from leafkit.index.build import through_cache
from leafkit.options import options_of, takes
from leafkit.teachers.open import open_with
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher

FEWEST_DOCUMENTS = 2  # of which one can search and the other be found


@takes(UpgradeOptions, TeacherOptions, CacheOptions)
def upgrade(
    old: str | PathLike[str],
    new: str | Path | Teacher,
    *,
    queries: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
    student: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    **options: Any,
) -> UpgradeReport:
    """Measure the ways to go on with an index whose model goes away, and say which to take.

    The ways are: embed everything again with the new model, a linear bridge between the two spaces in either
    direction, and a student of the old space, which keeps the index.

    old: the index, or a vectors file with the texts and vectors of the old model. Rows with the role query are logged
        queries.
    new: the model to change to: anything that `leafkit.open_teacher` takes.
    queries: a file of real queries, or a vectors file with queries and their old vectors. At most 2,000 are drawn.
    data: a folder in BEIR layout whose documents are among the old ones, for nDCG@10.
    student: a student of the old space; without it the way is not measured, unless ``train`` makes one at ``out``.

    Raises `InputError` for old vectors without texts, fewer than a hundred texts or a new model that writes the old
    vectors, `SpaceError` for a student or an old model of another space, and `OptionError` for an invalid option.
    """
    asked, opening = options_of(UpgradeOptions, options), options_of(TeacherOptions, options)
    cache = options_of(CacheOptions, options).cache
    _check_arguments(asked, data, student, out)
    stored = open_old(Path(old), None if student is None else str(student))
    material = _read(stored, queries, data, asked)
    opened = open_with(new, opening)
    check_new_model(opened, stored)
    old_model = None if asked.old_teacher is None else open_old_model(asked.old_teacher, stored, device=opening.device)
    if asked.train is not None and out is not None:
        train_old_student(
            stored, asked.train, Path(out), examples=asked.examples, seed=asked.seed, cache=cache, device=opening.device
        )
        student = out
    models = Models(
        old=stored,
        new=through_cache(opened, cache),
        old_model=None if old_model is None else through_cache(old_model, cache),
        student=None if student is None else open_old_student(str(student), stored, opening),
    )
    measured = measure(models, material, seed=asked.seed)
    cost = cost_of_ways(models, material, measured.timing, old_model, seed=asked.seed)
    sources = {"queries": queries, "data": data}
    return make_report(models, material, measured, cost, asked, sources=sources)


def _check_arguments(asked: UpgradeOptions, data: object, student: object, out: object) -> None:
    """Raise `OptionError` for arguments that exclude or need each other, and for a folder without judgements."""
    if student is not None and asked.train is not None:
        raise OptionError("--student gives a student and --train makes one; expected one of both. Remove one.")
    if (asked.train is None) != (out is None):
        has, lacks = ("--out", "--train") if asked.train is None else ("--train", "--out")
        raise OptionError(f"{has} is given without {lacks}. Give both to distil a student, or none.")
    if isinstance(data, str | PathLike):
        check_folder(Path(data), asked.split)


def _read(
    stored: OldVectors,
    queries: str | PathLike[str] | None,
    data: str | PathLike[str] | None,
    asked: UpgradeOptions,
) -> Material:
    """Read what is measured on; raise `InputError` if that is too little, before a model is opened or trained."""
    collection: Collection | None = None
    if data is None:
        documents = stored.sample("document", asked.documents, asked.seed)
    else:
        collection = read_collection(data, asked.split, documents=asked.documents)
        vectors = stored.find_all(collection.documents, collection.document_ids, source=str(data))
        documents = Pairs(texts=collection.documents, vectors=vectors)
    if len(documents.texts) < FEWEST_DOCUMENTS:
        raise InputError(
            f"there are {len(documents.texts)} documents to measure on; expected at least {FEWEST_DOCUMENTS}. Rows of "
            f"{stored.path} with the role query are queries: give old vectors of documents, or more --documents."
        )
    given = None if queries is None else read_given_queries(Path(queries), stored, seed=asked.seed)
    logged = stored.sample("query", MOST_QUERIES, asked.seed)
    material = Material(documents=documents, logged=logged, collection=collection, given=given)
    material.usable()
    return material
