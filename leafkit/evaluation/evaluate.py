"""Evaluate a teacher and its students side by side, on BEIR folders and MTEB tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from os import PathLike
from pathlib import Path

from leafkit.command import command
from leafkit.errors import InputError, OptionError
from leafkit.evaluation.bootstrap import RESAMPLES
from leafkit.evaluation.collection import Collection, check_folder, read_collection
from leafkit.evaluation.collection_means import means_over
from leafkit.evaluation.corpus_subset import check_subset_size
from leafkit.evaluation.folder_names import Paths, as_paths, distinct_names
from leafkit.evaluation.grid import full_cell, grid
from leafkit.evaluation.modes import check_modes, make_retrievers
from leafkit.evaluation.provenance import Provenance, commit, packages
from leafkit.evaluation.report import Report
from leafkit.evaluation.result_rows import ResultRow
from leafkit.evaluation.retrieval import CollectionResults, RetrievalPlan, measure_collection
from leafkit.evaluation.students import check_spaces, open_students
from leafkit.extras import require
from leafkit.teachers.open import open_teacher
from leafkit.teachers.options import TeacherOptions
from leafkit.types import Teacher
from leafkit.vectors.cached import cached, keeps_its_space
from leafkit.vectors.mapping import mapped
from leafkit.vectors.store import default_cache
from leafkit.version import __version__

LIBRARIES = {
    "metrics": "pytrec-eval-terrier (trec_eval): nDCG@10, recall, reciprocal rank cut at 10, MAP at 1000",
    "tasks": "mteb",
    "search": "FAISS, exhaustive",
    "bm25": "bm25s defaults (Lucene, k1 1.5, b 0.75), English stop words, no stemming",
    "cross-check": "beir: DenseRetrievalExactSearch and EvaluateRetrieval",
}


def evaluate(
    data: Paths = None,
    *,
    teacher: str | Path | Teacher | None = None,
    student: Paths = None,
    mteb: str | Sequence[str] | None = None,
    data_root: str | PathLike[str] | None = None,
    split: str = "test",
    dims: Sequence[int] | None = None,
    precisions: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
    encoder: str = "torch",
    bm25: bool = False,
    cross_check: bool = False,
    skip_bad: bool = False,
    documents: int | None = None,
    cache: str | PathLike[str] | None = None,
    seed: int = 0,
    teacher_options: TeacherOptions | None = None,
) -> Report:
    """The teacher, the student, and the student's queries on the teacher's documents, side by side.

    data: folders in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv).
    teacher: what made the documents' vectors; anything that `leafkit.open_teacher` takes.
    student: a student folder, or several to compare; each must live in the teacher's space.
    mteb: names of MTEB tasks, read from DATA_ROOT/NAME or else through mteb from the hub.
    data_root: folder with a folder for each task; NAME:clustering measures a table as another kind of task.
    split: which judgements or table to measure on; tasks from the hub use their own.
    dims, precisions: the grid, e.g. 768,256 and float32,int8,binary; ranges are calibrated on the documents.
    modes: some of teacher, standard, asymmetric; all that are possible where not given.
    encoder: measure the student in torch, or as shipped: onnx, onnx-int8.
    bm25: add a row for BM25 to each folder.
    cross_check: have BEIR search and score the same vectors as well (float32 cells).
    skip_bad: leave documents out that cannot be used.
    documents: measure each folder on a fixed cut of its corpus: every document that a split judges, and up to this
        many with those whose id has the lowest SHA-256.
    cache: where teacher vectors and mteb's results are kept.
    seed: of the bootstrap.
    teacher_options: how the teacher is opened where it is not open yet; the students share its device and compute.

    Raises `InputError` where there is nothing to measure or data cannot be used, `OptionError` for an unknown
    value, `SpaceError` for a student of another space.
    """
    if seed < 0:
        raise OptionError(f"seed is {seed}; expected 0 or more (--seed).")
    folders, tasks = as_paths(data), [mteb] if isinstance(mteb, str) else list(mteb or ())
    check_subset_size(documents, folders=bool(folders))
    _check_sources(folders, tasks, data_root, split)
    _check_extras(bool(folders), bool(tasks), bm25=bm25, cross_check=cross_check)
    chosen = check_modes(modes, teacher=teacher is not None, student=bool(as_paths(student)))
    options = teacher_options or TeacherOptions()
    root = default_cache() if cache is None else Path(cache)
    opened = None if teacher is None else _with_cache(open_teacher(teacher, **dataclasses.asdict(options)), root)
    students = open_students(student, encoder, options.device, options.compute)
    if opened and students:
        # A student with rotated coordinates is measured in them: their prefixes differ from the teacher's prefixes.
        opened = mapped(opened, students[0].mapping)
    space = check_spaces(students, opened.space if opened else None)
    plan = RetrievalPlan(
        retrievers=make_retrievers(chosen, opened, students),
        cells=grid(space, dims, precisions),
        full_cell=full_cell(space),
        teacher_is_optional=modes is None,
        bm25=bm25,
        cross_check=cross_check,
        seed=seed,
    )
    measured, sources = _measure_folders(folders, split, plan, skip_bad, documents)
    rows = [row for one in measured for row in one.rows]
    if tasks:
        more, also = _measure_tasks(tasks, data_root, split, plan, encoder, root / "mteb")
        rows, sources = rows + more, sources + also
    provenance = Provenance(
        command=command(),
        leafkit=__version__,
        commit=commit(),
        space=space.to_json(),
        students={student.name: student.sha256 for student in students},
        encoder=encoder,
        data=sources,
        seed=seed,
        resamples=RESAMPLES,
        packages=packages(),
        libraries=LIBRARIES,
    )
    return Report(
        rows=tuple(rows),
        means=means_over(measured, seed=seed),
        curves={student.name: student.curve for student in students if student.curve},
        provenance=provenance,
    )


Sources = list[dict[str, str]]
"""Name, origin, split and hash of each data source, for the report's provenance."""


def _with_cache(teacher: Teacher, root: Path) -> Teacher:
    """Return ``teacher`` with a cache of vectors on disk, unless the teacher itself reads vectors from disk.

    Raises `OptionError` for a student.
    """
    if not keeps_its_space(teacher):
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
        require("mteb")
        from leafkit.evaluation.mteb_tasks import find_task

        for name in tasks:
            find_task(name, data_root, split)


def _check_extras(folders: bool, tasks: bool, *, bm25: bool, cross_check: bool) -> None:
    """Raise `MissingExtraError` for a package that is not installed, before hours of encoding."""
    needed = {"pytrec_eval": folders, "mteb": tasks, "bm25s": bm25, "beir": cross_check}
    for package in (package for package, asked in needed.items() if asked):
        require(package)


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
