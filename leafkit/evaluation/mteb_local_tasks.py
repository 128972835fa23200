"""MTEB tasks read from local folders: nothing is downloaded, and mteb measures them.

Import this module only if mteb is installed, since the tasks are subclasses of mteb's own classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict  # type: ignore[import-untyped]
from mteb.abstasks import AbsTask
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.clustering import AbsTaskClustering
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.sts import AbsTaskSTS
from mteb.abstasks.task_metadata import TaskCategory, TaskMetadata, TaskType

from leafkit.errors import OptionError
from leafkit.evaluation.collection import check_folder, collection_digest, read_collection
from leafkit.evaluation.labelled_tables import Table, Types, first_columns, read_table, split_file, table_files
from leafkit.evaluation.provenance import files_digest
from leafkit.texts.beir import is_beir


class LocalRetrieval(AbsTaskRetrieval):
    """A folder in BEIR's layout, scored as BEIR does: a document with the query's own id is ignored."""

    ignore_identical_ids = True

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        """Read the folder into the columns that mteb expects."""
        split = self.metadata.eval_splits[0]
        collection = read_collection(self.metadata.dataset["path"], split)
        corpus = {"id": collection.document_ids, "title": collection.titles, "text": collection.bodies}
        self.dataset = {
            "default": {
                split: {
                    "corpus": Dataset.from_dict(corpus),
                    "queries": Dataset.from_dict({"id": collection.query_ids, "text": collection.queries}),
                    "relevant_docs": collection.judgements,
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


class LocalSTS(AbsTaskSTS):
    """Pairs of sentences with a similarity score of any scale, because the main score is a rank correlation."""

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        """Read the table of the split."""
        columns: Types = {"sentence1": str, "sentence2": str, "score": (int, float)}
        self.dataset = {"default": _datasets(_read_splits(self.metadata, self.metadata.eval_splits, columns))}
        self.data_loaded = True


class LocalClassification(AbsTaskClassification):
    """Labelled texts; mteb fits a logistic regression on eight texts per label of ``train`` and scores the split."""

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        """Read the tables of ``train`` and of the split, and number the labels in sorted order."""
        splits = _read_splits(self.metadata, [*self.metadata.eval_splits, "train"], _LABELLED)
        labels = sorted({str(label) for rows in splits.values() for label in rows["label"]})
        number = {label: index for index, label in enumerate(labels)}
        for rows in splits.values():
            rows["label"] = [number[str(label)] for label in rows["label"]]
        self.dataset = {"default": _datasets(splits)}
        self.data_loaded = True


class LocalClustering(AbsTaskClustering):
    """Labelled texts; mteb clusters all vectors of the split into as many clusters as there are labels."""

    max_fraction_of_documents_to_embed = None
    input_column_name = "text"
    label_column_name = "label"

    def load_data(self, num_proc: int | None = None, **_: Any) -> None:
        """Read the table of the split."""
        splits = _read_splits(self.metadata, self.metadata.eval_splits, _LABELLED)
        for rows in splits.values():
            rows["label"] = [str(label) for label in rows["label"]]
        self.dataset = {"default": _datasets(splits)}
        self.data_loaded = True


_LABELLED: Types = {"text": str, "label": (str, int)}


def _read_splits(metadata: TaskMetadata, splits: Sequence[str], columns: Types) -> dict[str, Table]:
    folder = Path(metadata.dataset["path"])
    return {split: read_table(split_file(folder, split), columns) for split in splits}


def _datasets(splits: Mapping[str, Table]) -> DatasetDict:
    return DatasetDict({split: Dataset.from_dict(rows) for split, rows in splits.items()})


@dataclass(frozen=True)
class Kind:
    """One kind of local task: its class, mteb's metadata for it, and a function that hashes the files of a split."""

    task: type[AbsTask]
    type: TaskType
    category: TaskCategory
    main_score: str
    digest: Callable[[Path, str], str]


def _collection_digest(folder: Path, split: str) -> str:
    check_folder(folder, split)
    return collection_digest(folder, split)


def _table_digest(folder: Path, split: str) -> str:
    return files_digest([(split, split_file(folder, split))])


def _tables_digest(folder: Path, split: str) -> str:
    return files_digest([(name, split_file(folder, name)) for name in (split, "train")])


KINDS = {
    "retrieval": Kind(LocalRetrieval, "Retrieval", "t2t", "ndcg_at_10", _collection_digest),
    "sts": Kind(LocalSTS, "STS", "t2t", "cosine_spearman", _table_digest),
    "classification": Kind(LocalClassification, "Classification", "t2c", "accuracy", _tables_digest),
    "clustering": Kind(LocalClustering, "Clustering", "t2c", "v_measure", _table_digest),
}


def open_local(folder: Path, split: str, kind: str | None = None) -> AbsTask:
    """Return the task in ``folder``, named after the folder.

    The layout decides the kind of task. ``kind`` overrides it and is appended to the task's name. Raises
    `OptionError` if the layout fits no kind or ``kind`` is unknown.
    """
    if kind is not None and kind not in KINDS:
        raise OptionError(f"{folder.name}:{kind}: unknown kind of task {kind!r}; expected one of {', '.join(KINDS)}.")
    chosen = KINDS[kind or _detect_kind(folder, split)]
    metadata = TaskMetadata(
        name=f"{folder.name}:{kind}" if kind else folder.name,
        description=f"{chosen.type} read from the local folder {folder.name}.",
        type=chosen.type,
        category=chosen.category,
        modalities=["text"],
        eval_splits=[split],
        eval_langs=["eng-Latn"],
        main_score=chosen.main_score,
        # The hash is the revision, because mteb stores the revision with each cached result.
        dataset={"path": str(folder), "revision": chosen.digest(folder, split)},
    )
    # The metadata belongs to a new class: mteb drops an instance's metadata when it unloads the data.
    return type(chosen.task.__name__, (chosen.task,), {"metadata": metadata})()


def _detect_kind(folder: Path, split: str) -> str:
    if is_beir(folder):
        return "retrieval"
    columns = first_columns(split_file(folder, split))
    if {"sentence1", "sentence2", "score"} <= set(columns):
        return "sts"
    if {"text", "label"} <= set(columns):
        return "classification" if "train" in table_files(folder) else "clustering"
    raise OptionError(
        f"{folder}/{split} has the columns {', '.join(columns)}; expected a folder in BEIR's layout, or a table with "
        "the columns sentence1, sentence2, score (STS) or text, label (classification, clustering)."
    )
