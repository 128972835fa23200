"""Measure tasks with mteb and its result cache, and turn the results into rows of a report.

Import this module only if mteb is installed.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import datasets  # type: ignore[import-untyped]
import mteb
import numpy
from mteb.abstasks import AbsTask
from mteb.models import ModelMeta, SearchEncoderWrapper
from mteb.results import TaskResult

from leafkit.errors import InputError
from leafkit.evaluation.grid import FULL_PRECISION, Cell
from leafkit.evaluation.metrics import METRICS
from leafkit.evaluation.modes import Retriever, with_cached_encoders
from leafkit.evaluation.mteb_model import CellBackend, MtebModel
from leafkit.evaluation.result_rows import ResultRow
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.files.progress import progress

_log = logging.getLogger("leafkit")

_MTEB_NAMES = dict(
    zip(METRICS, ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10", "map_at_1000"), strict=True)
)

_Scores = dict[str, float]


class _Counts(NamedTuple):
    queries: int | None
    documents: int | None


@dataclass(frozen=True, kw_only=True)
class MtebRun:
    """The retrievers and cells to measure tasks with; ``encoder`` is how the students were opened.

    ``full_cell`` is the cell that ``of_full`` compares with, and ``cache`` the folder of mteb's results.
    """

    retrievers: Sequence[Retriever]
    cells: Sequence[Cell]
    full_cell: Cell
    encoder: str
    cache: Path

    def rows(self, open_task: Callable[[], AbsTask], *, local: bool) -> list[ResultRow]:
        """Return a row for each cell and retriever whose results can differ on the task.

        ``open_task`` opens the task anew at each call; ``local`` says that its data is in a local folder. Tasks other
        than retrieval have no documents to store and no sides. They are measured in float32 at each dim, without the
        asymmetric mode, which would repeat the standard one.
        """
        task = open_task()
        has_sides = task.metadata.simplified_task_type == "retrieval"
        cells = self._cells_for(task.metadata.name, has_sides=has_sides)
        retrievers = self._retrievers_for(task.metadata.name, has_sides=has_sides)
        teacher = next((one for one in retrievers if one.mode == "teacher"), None)
        requested = [(cell, one) for cell in cells for one in retrievers]
        extra = [(self.full_cell, teacher)] if teacher and self.full_cell not in cells else []
        scores = {}
        with progress(task.metadata.name, total=len(requested + extra), unit="rows") as bar, _without_bars():
            for cell, one in requested + extra:
                # Open the task anew each time: mteb's clustering draws from a generator that the task keeps.
                result = self._measure(open_task(), one, cell, local=local)
                scores[cell, one] = mean_scores(result, task.metadata.main_score)
                bar.update()
        counts = _counts(task, local=local)
        return [self._row(task, cell, one, scores, counts) for cell, one in requested]

    def _cells_for(self, task: str, *, has_sides: bool) -> list[Cell]:
        cells = [cell for cell in self.cells if has_sides or cell.precision == FULL_PRECISION]
        if cells:
            return cells
        _log.warning("%s has no documents to store, so it is measured in float32", task)
        return [Cell(dim=dim, precision=FULL_PRECISION) for dim in dict.fromkeys(cell.dim for cell in self.cells)]

    def _retrievers_for(self, task: str, *, has_sides: bool) -> list[Retriever]:
        retrievers = [one for one in self.retrievers if has_sides or one.mode != "asymmetric"]
        if not retrievers:
            _log.warning("%s has no queries and documents, so the asymmetric mode does not apply", task)
        return with_cached_encoders(retrievers)

    def _measure(self, task: AbsTask, retriever: Retriever, cell: Cell, *, local: bool) -> TaskResult:
        model: Any = MtebModel(retriever, cell, encoder=self.encoder)
        if cell.precision != FULL_PRECISION:
            model = SearchEncoderWrapper(model, index_backend=CellBackend(cell))
        cache = mteb.ResultCache(self.cache)
        overwrite = "only-missing" if _is_current(cache, task, model.mteb_model_meta) else "always"
        try:
            with explain_disk_errors(self.cache):
                found = mteb.evaluate(
                    model,
                    task,
                    cache=cache,
                    overwrite_strategy=overwrite,
                    co2_tracker=False,
                    show_progress_bar=False,
                )
        except OSError as error:
            if local:
                raise
            raise _unreachable(task, error) from error
        if not found.task_results:
            raise InputError(f"mteb cannot measure {task.metadata.name}: {found.exceptions}")
        return found.task_results[0]

    def _row(
        self,
        task: AbsTask,
        cell: Cell,
        retriever: Retriever,
        scores: Mapping[tuple[Cell, Retriever], _Scores],
        counts: _Counts,
    ) -> ResultRow:
        main = _leafkit_name(task.metadata.main_score)
        teacher = {of: score for (of, one), score in scores.items() if one.mode == "teacher"}
        value = scores[cell, retriever][main]
        return ResultRow(
            data=task.metadata.name,
            mode=retriever.mode,
            student=retriever.student,
            dim=cell.dim,
            precision=cell.precision,
            metrics=scores[cell, retriever],
            main=main,
            retention=_ratio(value, teacher.get(cell, {}).get(main)),
            of_full=_ratio(value, teacher.get(self.full_cell, {}).get(main)),
            queries=counts.queries,
            documents=counts.documents,
        )


def _is_current(cache: mteb.ResultCache, task: AbsTask, meta: ModelMeta) -> bool:
    """Return whether mteb may use the cached result, if there is one.

    mteb itself would use any complete result, even if the data changed under the same name, and fail on a result
    that a killed run left half written.
    """
    try:
        known = cache.load_task_result(task.metadata.name, meta)
    except (ValueError, KeyError):
        _log.warning("the cached result of %s is damaged; measuring the task again", task.metadata.name)
        return False
    return known is None or known.dataset_revision == task.metadata.revision


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the progress bars that `datasets` shows for each pass over a task's texts."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _leafkit_name(name: str) -> str:
    """Return leafkit's name of one of mteb's scores, or ``name`` if leafkit has none."""
    return next((ours for ours, theirs in _MTEB_NAMES.items() if theirs == name), name)


def mean_scores(result: TaskResult, main: str) -> _Scores:
    """Return means over splits and language subsets: the retrieval metrics, or a task's main score alone."""
    entries = [entry for split in result.scores.values() for entry in split]
    names = {**_MTEB_NAMES} if main in _MTEB_NAMES.values() else {main: main}
    return {
        # mteb's cache keeps six digits. Rounding makes the first run agree with every later one.
        ours: float(numpy.mean([round(entry[theirs], 6) for entry in entries]))
        for ours, theirs in names.items()
        if all(theirs in entry for entry in entries)
    }


def _ratio(value: float, base: float | None) -> float | None:
    """Return ``value / base``, or None if it is not a number: a correlation with a constant has no value."""
    return value / base if base and math.isfinite(value / base) else None


def _counts(task: AbsTask, *, local: bool) -> _Counts:
    """Return the number of scored queries and documents, or of the texts or pairs of a task without sides."""
    if local:
        task.load_data()
        data = (task.dataset or {})["default"][task.eval_splits[0]]
        if "corpus" in data:
            return _Counts(len(data["queries"]), len(data["corpus"]))
        return _Counts(len(data), None)
    statistics = [
        found for split, found in (task.metadata.descriptive_stats or {}).items() if split in task.eval_splits
    ]
    queries = [found.get("num_queries", found.get("num_samples")) for found in statistics]
    documents = [found.get("num_documents") for found in statistics]
    return _Counts(_sum(queries), _sum(documents))


def _sum(counts: Sequence[Any]) -> int | None:
    return sum(counts) if counts and None not in counts else None


def _unreachable(task: AbsTask, error: OSError) -> InputError:
    name = task.metadata.name
    return InputError(
        f"cannot load the data of the task {name}: tried {task.metadata.dataset['path']} on the hub and in its local "
        f"cache ({error}). This machine is offline or the hub is unreachable. Put the data into ROOT/{name} "
        "(BEIR's layout, or <split>.jsonl) and add --data-root ROOT."
    )
