"""The tasks that students are compared on: each gives one score per item, and a figure computed from the scores.

The tasks are what students are used for: searching stored teacher vectors with a student's queries (retrieval), or
building on the student's vectors alone (similarity, classes).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy

from leafkit.errors import OptionError
from leafkit.evaluation.collection import read_collection
from leafkit.evaluation.compare.statistics import RankCorrelation, Statistic, mean_score
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
    """One task with its data in memory.

    ``facts`` are the name, split, SHA-256 and number of items of the data. ``statistic`` computes the figure of a
    student from its scores. ``held_out`` are texts that recipes for the task would otherwise train on; they must be
    removed from the training texts.
    """

    name: str
    metric: str
    facts: dict[str, Any]
    statistic: Statistic

    @property
    def held_out(self) -> Sequence[str]:
        """Texts to remove from the training texts."""
        ...

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """Return the score of each item, shape (items,)."""
        ...


class Retrieval:
    """Search the teacher's document vectors with the student's queries: nDCG@10 of each query."""

    name = "retrieval"
    folder = "tldr-commands"
    metric = "nDCG@10, asymmetric"
    statistic = staticmethod(mean_score)
    held_out: Sequence[str] = ()

    def __init__(self, folder: Path, split: str) -> None:
        """Read the collection. Raise `OptionError` if ``folder`` has no judgements for ``split``."""
        self._collection = read_collection(folder, split)
        counts = {"items": len(self._collection.queries), "documents": len(self._collection.documents)}
        self.facts = {"name": folder.name, "split": split, "sha256": self._collection.sha256, **counts}

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """Return nDCG@10 of each query, by exhaustive float32 search."""
        collection = self._collection
        finder = CellFinder(teacher.encode(collection.documents, "document"), full_cell(teacher.space))
        queries = student.encode(collection.queries, "query")
        return search_scores(collection, queries, finder).values[MAIN_METRIC]


class Similarity:
    """Sentence pairs rated by people: the cosine of each pair. The figure is the rank correlation with the ratings."""

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
        """Return the cosine of each pair. The teacher is not used."""
        left, right = (student.encode(self._pairs[side], "query") for side in ("sentence1", "sentence2"))
        lengths = numpy.linalg.norm(left, axis=1) * numpy.linalg.norm(right, axis=1)
        return ((left * right).sum(axis=1) / lengths).astype(numpy.float64)


class Classes:
    """Labelled texts: whether a logistic regression on the student's vectors of ``train`` predicts each label."""

    name = "classes"
    folder = "banking77"
    metric = "accuracy of logistic regression"
    statistic = staticmethod(mean_score)

    def __init__(self, folder: Path, split: str) -> None:
        """Read the texts that the regression is fitted on and those of ``split``."""
        self._fitted, self._tested, self.facts = _tables(folder, split, {"text": str, "label": (str, int)})
        self.facts["fitted"] = len(self._fitted["text"])
        # Recipes for classes train on the texts and labels of train, and dev is a part of train.
        self.held_out: Sequence[str] = self._tested["text"] if split == "dev" else ()

    def score(self, student: Encoder, teacher: Encoder) -> Float64:
        """Return 1 for each text whose label is predicted correctly, else 0. The teacher is not used."""
        # Unit vectors need less regularisation than sklearn's default, which suits columns of variance 1.
        model = import_optional("sklearn.linear_model").LogisticRegression(C=10, max_iter=1000)
        model.fit(student.encode(self._fitted["text"], "query"), self._fitted["label"])
        predicted = model.predict(student.encode(self._tested["text"], "query"))
        return (predicted == numpy.array(self._tested["label"])).astype(numpy.float64)


TASKS = {kind.name: kind for kind in (Retrieval, Similarity, Classes)}


def open_task(name: str, data_root: Path, split: str) -> Task:
    """Read the data of the task ``name`` from its folder in ``data_root``.

    Raises `OptionError` for an unknown task or split, or a missing folder.
    """
    if name not in TASKS:
        raise OptionError(f"task is {name!r}; expected one of {', '.join(TASKS)}.")
    if split not in SPLITS:
        raise OptionError(f"split is {split!r}; expected test, or dev to choose the values of a recipe.")
    folder = data_root / TASKS[name].folder
    if not folder.is_dir():
        raise OptionError(
            f"{folder} does not exist. The task {name} needs the data folder {folder.name}; "
            "set --data-root (data_root=) to the folder that contains it."
        )
    return TASKS[name](folder, split)


def _tables(folder: Path, split: str, columns: Types) -> tuple[Table, Table, dict[str, Any]]:
    """Return the rows to fit on, the rows of ``split``, and facts about both.

    ``dev`` is a fixed random fifth of train, which is then left out of the rows to fit on.
    """
    files = {name: split_file(folder, name) for name in ({"train", split} - {"dev"})}
    train = read_table(files["train"], columns)
    if split == "dev":
        count = len(next(iter(train.values())))
        order = numpy.random.default_rng(0).permutation(count)
        dev_rows = sorted(order[: max(1, round(TUNING_SHARE * count))].tolist())
        fitted, tested = _rows(train, sorted(set(range(count)) - set(dev_rows))), _rows(train, dev_rows)
    else:
        fitted, tested = train, read_table(files[split], columns)
    items = len(next(iter(tested.values())))
    return fitted, tested, {"name": folder.name, "split": split, "sha256": files_digest(files.items()), "items": items}


def _rows(table: Table, rows: Sequence[int]) -> Table:
    return {name: [values[row] for row in rows] for name, values in table.items()}
