"""What students are compared by: one score for each item of a task, and the figure that the scores add up to.

Every task is asked what a student is for: a stored collection of teacher vectors is searched with its queries, or its
vectors alone carry what a user builds on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy

from leafkit.errors import OptionError
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.compare.statistics import RankCorrelation, Statistic, mean
from leafkit.evaluation.grid import CellFinder, full_cell
from leafkit.evaluation.labelled_tables import Table, Types, read_table, split_file
from leafkit.evaluation.metrics import MAIN_METRIC, Float64
from leafkit.evaluation.provenance import files_digest
from leafkit.evaluation.retrieval import search_scores
from leafkit.extras import import_optional
from leafkit.types import Encoder

SPLITS = ("test", "dev")
TUNING_SHARE = 0.2


class Task(Protocol):
    """One task with its data read. ``facts`` say which bytes and how many items; ``statistic`` is its figure.

    ``held_out`` are texts that no student may be trained on, as recipes for the task otherwise would.
    """

    name: str
    metric: str
    facts: dict[str, Any]
    statistic: Statistic
    held_out: Sequence[str]

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """The score of each item, (items,)."""
        ...


class Retrieval:
    """The student's queries on the teacher's document vectors of a collection: nDCG@10 of each query."""

    name = "retrieval"
    folder = "tldr-commands"
    metric = "nDCG@10, asymmetric"
    statistic = staticmethod(mean)
    held_out: Sequence[str] = ()

    def __init__(self, folder: Path, split: str) -> None:
        """Read the collection; raises `OptionError` where ``folder`` has no such ``split``."""
        self._collection = read_collection(folder, split)
        counts = {"items": len(self._collection.queries), "documents": len(self._collection.documents)}
        self.facts = {"name": folder.name, "split": split, "sha256": self._collection.sha256, **counts}

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """nDCG@10 of each query, by exhaustive float32 search."""
        collection = self._collection
        finder = CellFinder(teacher.encode(collection.documents, "document"), full_cell(teacher.space))
        queries = student.encode(collection.queries, "query")
        return search_scores(collection, queries, finder).values[MAIN_METRIC]


class Similarity:
    """Pairs of sentences that people rated: the cosine of each pair; its figure is the rank correlation."""

    name = "similarity"
    folder = "stsb-en"
    metric = "Spearman's correlation of the cosine"
    held_out: Sequence[str] = ()

    def __init__(self, folder: Path, split: str) -> None:
        """Read the pairs of ``split``."""
        columns: Types = {"sentence1": str, "sentence2": str, "score": (int, float)}
        _, self._pairs, self.facts = _tables(folder, split, columns)
        self.statistic: Statistic = RankCorrelation(numpy.array(self._pairs["score"], dtype=numpy.float64))

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """The cosine of each pair; the teacher has no part in it."""
        one, other = (student.encode(self._pairs[side], "query") for side in ("sentence1", "sentence2"))
        lengths = numpy.linalg.norm(one, axis=1) * numpy.linalg.norm(other, axis=1)
        return ((one * other).sum(axis=1) / lengths).astype(numpy.float64)


class Classes:
    """Labelled texts: whether a logistic regression on the student's vectors of ``train`` knows each one's label."""

    name = "classes"
    folder = "banking77"
    metric = "accuracy of logistic regression"
    statistic = staticmethod(mean)

    def __init__(self, folder: Path, split: str) -> None:
        """Read the texts to fit on and those of ``split``."""
        self._fitted, self._asked, self.facts = _tables(folder, split, {"text": str, "label": (str, int)})
        self.facts["fitted"] = len(self._fitted["text"])
        # Recipes for classes learn from the texts and labels of train, of which dev is a cut.
        self.held_out = self._asked["text"] if split == "dev" else ()

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """1 for each text whose label is found, else 0; the teacher has no part in it."""
        # Unit vectors want less regularisation than sklearn's default for columns of variance 1.
        model = import_optional("sklearn.linear_model").LogisticRegression(C=10, max_iter=1000)
        model.fit(student.encode(self._fitted["text"], "query"), self._fitted["label"])
        found = model.predict(student.encode(self._asked["text"], "query"))
        return (found == numpy.array(self._asked["label"])).astype(numpy.float64)


TASKS = {kind.name: kind for kind in (Retrieval, Similarity, Classes)}


def open_task(name: str, data_root: Path, split: str) -> Task:
    """The task ``name`` with its data in ``data_root``; raises `OptionError` for one that there is not."""
    if name not in TASKS:
        raise OptionError(f"unknown task {name!r}; wanted one of {', '.join(TASKS)}")
    if split not in SPLITS:
        raise OptionError(f"unknown split {split!r}; wanted test, or dev to tune on")
    folder = data_root / TASKS[name].folder
    if not folder.is_dir():
        raise OptionError(f"{folder} is not there; name the folder that holds {folder.name} (--data-root)")
    return TASKS[name](folder, split)


def _tables(folder: Path, split: str, columns: Types) -> tuple[Table, Table, dict[str, Any]]:
    """What may be fitted on, what is asked, and the facts of both: ``dev`` is a cut of train, the same every time."""
    files = {name: split_file(folder, name) for name in ({"train", split} - {"dev"})}
    train = read_table(files["train"], columns)
    if split == "dev":
        count = len(next(iter(train.values())))
        order = numpy.random.default_rng(0).permutation(count)
        held = sorted(order[: max(1, round(TUNING_SHARE * count))].tolist())
        fitted, asked = _rows(train, sorted(set(range(count)) - set(held))), _rows(train, held)
    else:
        fitted, asked = train, read_table(files[split], columns)
    items = len(next(iter(asked.values())))
    return fitted, asked, {"name": folder.name, "split": split, "sha256": files_digest(files.items()), "items": items}


def _rows(table: Table, rows: Sequence[int]) -> Table:
    return {name: [values[row] for row in rows] for name, values in table.items()}
