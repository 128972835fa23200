"""Evaluate a teacher and its students side by side, on BEIR folders and MTEB tasks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from leafkit.command import command_line
from leafkit.errors import InputError, OptionError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.collection import Collection, check_folder, read_collection
from leafkit.evaluation.collection_means import means_over
from leafkit.evaluation.corpus_subset import check_subset_size
from leafkit.evaluation.folder_names import Paths, as_paths, distinct_names
from leafkit.evaluation.grid import full_cell, grid
from leafkit.evaluation.modes import check_modes, make_retrievers
from leafkit.evaluation.options import EvaluationOptions
from leafkit.evaluation.provenance import Provenance, commit, packages
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.retrieval import CollectionResults, RetrievalPlan, measure_collection
from leafkit.evaluation.students import check_spaces, choose_encoder, open_students
from leafkit.extras import import_optional
from leafkit.files.options import CacheOptions
from leafkit.options import options_of, takes
from leafkit.search.hybrid import DENSE_WEIGHT
from leafkit.teachers.options import TeacherOptions
from leafkit.teachers.same_space import RecordedSpace, open_in_space
from leafkit.texts.beir import check_beir
from leafkit.texts.options import SkipOptions
from leafkit.types import Teacher
from leafkit.vectors.cached import cached
from leafkit.vectors.mapping import map_teacher
from leafkit.vectors.store import default_cache, is_exact
from leafkit.version import __version__

LIBRARIES = {
    "metrics": "pytrec-eval-terrier (trec_eval): nDCG@10, recall, reciprocal rank cut at 10, MAP at 1000",
    "tasks": "mteb",
    "search": "FAISS, exhaustive",
    "bm25": "bm25s defaults (Lucene, k1 1.5, b 0.75), English stop words, no stemming",
    "hybrid": f"the hundred best of the vectors and of BM25, min-max scores, weight {DENSE_WEIGHT} for the vectors",
    "cross-check": "beir: DenseRetrievalExactSearch and EvaluateRetrieval",
}


@takes(EvaluationOptions, SkipOptions, TeacherOptions, CacheOptions)
def evaluate(
    data: Paths = None,
    *,
    teacher: str | Path | Teacher | None = None,
    student: Paths = None,
    mteb: str | Sequence[str] | None = None,
    **options: Any,
) -> Report:
    """Measure the teacher, the student, and the student's queries on the teacher's documents, side by side.

    data: folders in BEIR layout (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv).
    teacher: the model that made the documents' vectors: anything that `leafkit.open_teacher` takes. The students share
        its ``device`` and ``compute``.
    student: a student folder, or several to compare; each must belong to the teacher's space.
    mteb: names of MTEB tasks, read from DATA_ROOT/NAME or else from the hub through mteb. Their results are cached
        in the same folder as the teacher vectors.

    Raises `InputError` if there is nothing to measure or data cannot be used, `OptionError` for an invalid value and
    `SpaceError` for a student of another space.
    """
    asked, opening = options_of(EvaluationOptions, options), options_of(TeacherOptions, options)
    skip_bad, cache = options_of(SkipOptions, options).skip_bad, options_of(CacheOptions, options).cache
    folders, tasks = as_paths(data), [mteb] if isinstance(mteb, str) else list(mteb or ())
    check_subset_size(asked.documents, folders=bool(folders))
    _check_sources(folders, tasks, asked.data_root, asked.split)
    for folder in folders:
        check_beir(folder, asked.split, skip_bad=skip_bad)
    _check_extras(bool(folders), bool(tasks), bm25=asked.bm25 or asked.hybrid, cross_check=asked.cross_check)
    chosen = check_modes(asked.modes, teacher=teacher is not None, student=bool(as_paths(student)))
    encoder = choose_encoder(student, asked.encoder)
    root = cache or default_cache()
    # All students share one space, so the teacher is recognised by the first one's.
    recorded = next(map(RecordedSpace.of_student, as_paths(student)), None)
    opened = None if teacher is None else _with_cache(open_in_space(teacher, opening, recorded), root)
    students = open_students(student, encoder, opening.device, opening.compute)
    if opened and students:
        # A student with rotated coordinates is measured in them: their prefixes differ from the teacher's prefixes.
        opened = map_teacher(opened, students[0].mapping)
    space = check_spaces(students, opened.space if opened else None)
    plan = RetrievalPlan(
        retrievers=make_retrievers(chosen, opened, students),
        cells=grid(space, asked.dims, asked.precisions),
        full_cell=full_cell(space),
        teacher_is_optional=asked.modes is None,
        bm25=asked.bm25 or asked.hybrid,
        hybrid=asked.hybrid,
        cross_check=asked.cross_check,
        seed=asked.seed,
    )
    measured, sources = _measure_folders(folders, asked.split, plan, skip_bad, asked.documents)
    rows = [row for one in measured for row in one.rows]
    if tasks:
        more, also = _measure_tasks(tasks, asked.data_root, asked.split, plan, encoder, root / "mteb")
        rows, sources = rows + more, sources + also
    provenance = Provenance(
        command=command_line(),
        leafkit=__version__,
        commit=commit(),
        space=space.to_json(),
        students={student.name: student.sha256 for student in students},
        encoder=encoder,
        data=sources,
        seed=asked.seed,
        resamples=RESAMPLES,
        packages=packages(),
        libraries=LIBRARIES,
    )
    return Report(
        rows=tuple(rows),
        means=means_over(measured, seed=asked.seed),
        curves={student.name: student.curve for student in students if student.curve},
        provenance=provenance,
    )


Sources = list[dict[str, str]]
"""Name, origin, split and hash of each data source, for the report's provenance."""


def _with_cache(teacher: Teacher, root: Path) -> Teacher:
    """Return ``teacher`` with a cache of vectors on disk, unless the teacher itself reads vectors from disk.

    Raises `OptionError` for a student.
    """
    if not is_exact(teacher):
        raise OptionError(
            "the teacher is a student, or vectors by a student, so retention would compare the student with itself. "
            "Give the teacher that the student was distilled from, and the student with --student."
        )
    return cached(teacher, root) if "online" in teacher.signals else teacher


def _check_sources(
    folders: Sequence[Path], tasks: Sequence[str], data_root: str | PathLike[str] | None, split: str
) -> None:
    """Check the data sources before a model is loaded; raise `InputError` or `OptionError` for missing ones."""
    if not folders and not tasks:
        raise InputError(
            "nothing to measure on: no folder in BEIR's layout and no MTEB task is given. Add --data, --mteb or both."
        )
    for folder in folders:
        check_folder(folder, split)
    if tasks:
        import_optional("mteb")
        from leafkit.evaluation.mteb_tasks import find_task

        for name in tasks:
            find_task(name, data_root, split)


def _check_extras(folders: bool, tasks: bool, *, bm25: bool, cross_check: bool) -> None:
    """Raise `MissingExtraError` for a package that is not installed, before hours of encoding."""
    needed = {"pytrec_eval": folders, "mteb": tasks, "bm25s": bm25, "beir": cross_check}
    for package in (package for package, asked in needed.items() if asked):
        import_optional(package)


def _measure_folders(
    folders: Sequence[Path], split: str, plan: RetrievalPlan, skip_bad: bool, documents: int | None
) -> tuple[list[CollectionResults], Sources]:
    measured: list[CollectionResults] = []
    sources: Sources = []
    for folder, name in zip(folders, distinct_names(folders, what="data folder"), strict=True):
        collection = read_collection(folder, split, name=name, skip_bad=skip_bad, documents=documents)
        measured.append(measure_collection(collection, plan))
        source = {"name": name, "source": str(folder), "split": split, "sha256": collection.sha256}
        sources.append(source | ({} if documents is None else {"documents": _subset(collection)}))
    return measured, sources


def _subset(collection: Collection) -> str:
    return f"{len(collection.document_ids)} of {collection.corpus_size}"


def _measure_tasks(
    names: Sequence[str],
    data_root: str | PathLike[str] | None,
    split: str,
    plan: RetrievalPlan,
    encoder: str,
    cache: Path,
) -> tuple[list[ResultRow], Sources]:
    from leafkit.evaluation.mteb_run import MtebRun
    from leafkit.evaluation.mteb_tasks import find_task

    run = MtebRun(retrievers=plan.retrievers, cells=plan.cells, full_cell=plan.full_cell, encoder=encoder, cache=cache)
    rows: list[ResultRow] = []
    sources: Sources = []
    for name in names:
        open_task = partial(find_task, name, data_root, split)
        rows += run.rows(open_task, local=data_root is not None)
        metadata = open_task().metadata
        splits = ",".join(metadata.eval_splits)
        sources.append(
            {"name": metadata.name, "source": metadata.dataset["path"], "split": splits, "revision": metadata.revision}
        )
    return rows, sources
