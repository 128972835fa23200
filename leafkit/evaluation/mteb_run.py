"""MTEB tasks measured by mteb itself, with its result cache, into the rows of a report.

Imported only when mteb is there.
"""

from __future__ import annotations

import contextlib
import logging
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
from leafkit.files.atomic import explain_disk_errors
from leafkit.files.progress import progress

_log = logging.getLogger("leafkit")

_MTEB_NAMES = dict(
    zip(METRICS, ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10", "map_at_1000"), strict=True)
)


@dataclass(frozen=True, kw_only=True)
class MtebRun:
    """The retrievers and cells to measure tasks with; ``encoder`` is what students were opened as."""

    retrievers: Sequence[Retriever]
    cells: Sequence[Cell]
    full_cell: Cell
    encoder: str
    cache: Path

    def rows(self, open_task: Callable[[], AbsTask], *, local: bool) -> list[ResultRow]:
        """A row for each cell and retriever that the task of ``open_task`` can tell apart.

        Only retrieval has two sides: elsewhere the asymmetric mode would repeat the standard one, and vectors are
        compared in float32 at each dim.
        """
        task = open_task()
        sided = task.metadata.simplified_task_type == "retrieval"
        cells = [cell for cell in self.cells if sided or cell.precision == FULL_PRECISION]
        if not cells:
            cells = [Cell(dim=dim, precision=FULL_PRECISION) for dim in dict.fromkeys(c.dim for c in self.cells)]
            _log.warning("%s has no documents to store: it is measured in float32", task.metadata.name)
        retrievers = with_cached_encoders(
            [retriever for retriever in self.retrievers if sided or retriever.mode != "asymmetric"]
        )
        if not retrievers:
            _log.warning("%s has no queries and documents, so the asymmetric mode says nothing", task.metadata.name)
        teacher = next((retriever for retriever in retrievers if retriever.mode == "teacher"), None)
        asked = [(cell, retriever) for cell in cells for retriever in retrievers]
        extra = [(self.full_cell, teacher)] if teacher and self.full_cell not in cells else []
        scores = {}
        with progress(task.metadata.name, total=len(asked + extra), unit="rows") as bar, _quiet():
            for cell, retriever in asked + extra:
                # A task of its own for each: mteb's clustering draws from a generator that the task carries along.
                result = self._measure(open_task(), retriever, cell, local=local)
                scores[cell, retriever] = _scores(result, task.metadata.main_score)
                bar.update()
        counts = _counts(task, local=local)
        return [self._row(task, cell, retriever, scores, counts) for cell, retriever in asked]

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
            raise InputError(f"mteb could not measure {task.metadata.name}: {found.exceptions}")
        return found.task_results[0]

    def _row(
        self,
        task: AbsTask,
        cell: Cell,
        retriever: Retriever,
        scores: Mapping[tuple[Cell, Retriever], _Scores],
        counts: _Counts,
    ) -> ResultRow:
        main = _ours(task.metadata.main_score)
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
    """Whether mteb may go on from the cached result, if any.

    It would take any complete result, also of data that changed under the same name, and stop at one that a
    killed run left half written.
    """
    try:
        known = cache.load_task_result(task.metadata.name, meta)
    except (ValueError, KeyError):
        _log.warning("the cached result of %s cannot be read and is measured again", task.metadata.name)
        return False
    return known is None or known.dataset_revision == task.metadata.revision


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that `datasets` shows for each pass over a task's texts."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


class _Counts(NamedTuple):
    queries: int | None
    documents: int | None


_Scores = dict[str, float]


def _ours(name: str) -> str:
    """Our name of one of mteb's scores, where we have one."""
    return next((ours for ours, theirs in _MTEB_NAMES.items() if theirs == name), name)


def _scores(result: TaskResult, main: str) -> _Scores:
    """Means over splits and language subsets: the retrieval metrics, or the main score of the task."""
    entries = [entry for split in result.scores.values() for entry in split]
    names = {**_MTEB_NAMES} if main in _MTEB_NAMES.values() else {main: main}
    return {
        # Six digits are what mteb writes to its cache: the first run gives the figures of every later one.
        ours: float(numpy.mean([round(entry[theirs], 6) for entry in entries]))
        for ours, theirs in names.items()
        if all(theirs in entry for entry in entries)
    }


def _ratio(value: float, base: float | None) -> float | None:
    return value / base if base else None


def _counts(task: AbsTask, *, local: bool) -> _Counts:
    """How much was scored: queries and documents, or the texts or pairs of a task without sides."""
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
        f"the data of the task {name} cannot be had: tried {task.metadata.dataset['path']} on the hub and in its local "
        f"cache ({error}). This machine is offline or the hub cannot be reached; put the data into ROOT/{name} "
        "(BEIR's layout, or <split>.jsonl) and add --data-root ROOT"
    )
