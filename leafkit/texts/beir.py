"""BEIR folders: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, each plain, .gz or .zst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from leafkit.errors import TextError
from leafkit.texts.columns import Row, RowError
from leafkit.texts.delimited import table_rows
from leafkit.texts.read import read_texts
from leafkit.texts.record import Text
from leafkit.texts.source import find_plain_or_compressed
from leafkit.types import Role

QRELS_COLUMNS = ("query-id", "corpus-id", "score")


def is_beir(folder: str | PathLike[str]) -> bool:
    """Whether ``folder`` holds the corpus of a BEIR dataset."""
    return find_plain_or_compressed(Path(folder), "corpus.jsonl") is not None


def read_corpus(folder: str | PathLike[str], *, skip_bad: bool = False) -> Iterator[Text]:
    """Every document, in order, with its title; raises `TextError` naming both lines of an id that comes twice."""
    return _read(folder, "corpus.jsonl", "document", skip_bad)


def read_queries(folder: str | PathLike[str], *, skip_bad: bool = False) -> dict[str, str]:
    """The text of every query of every split, by id; raises `TextError` naming both lines of an id that comes twice."""
    return {query.id: query.text for query in _read(folder, "queries.jsonl", "query", skip_bad)}


def read_qrels(folder: str | PathLike[str], split: str = "test") -> dict[str, dict[str, int]]:
    """The score of each judged document, by query id and document id.

    The file is only parsed: judgements of queries or documents that the folder does not hold are kept.
    Raises `TextError` naming the line of a row that is not two ids and a whole number.
    """
    path = _find(folder, f"qrels/{split}.tsv")
    qrels: dict[str, dict[str, int]] = {}
    for row in table_rows(path, "\t", _check_qrels_header):
        try:
            _judge(qrels, row)
        except RowError as bad:
            raise TextError(f"{path}:{row.number}: {bad}") from None
    if not qrels:
        raise TextError(f"{path}: is empty, wanted at least one judgement")
    return qrels


def _check_qrels_header(names: Sequence[str], where: str) -> None:
    if not set(QRELS_COLUMNS) <= set(names):
        raise TextError(f"{where}: got the header {names}, wanted {', '.join(QRELS_COLUMNS)} separated by tabs")


def _judge(qrels: dict[str, dict[str, int]], row: Row) -> None:
    if row.problem:
        raise row.problem
    query, document, score = (row.columns[name] for name in QRELS_COLUMNS)
    if not query or not document:
        raise RowError("no id", f"got the query id {query!r} and the document id {document!r}, wanted both")
    try:
        value = int(score)
    except ValueError:
        raise RowError("bad score", f"got the score {score!r}, wanted a whole number") from None
    if qrels.setdefault(query, {}).setdefault(document, value) != value:
        before = qrels[query][document]
        raise RowError("judged twice", f"got {value} for {query!r} and {document!r}, which scored {before} before")


def _read(folder: str | PathLike[str], name: str, role: Role, skip_bad: bool) -> Iterator[Text]:
    path = _find(folder, name)
    return read_texts(path, role=role, skip_bad=skip_bad, text_column="text", id_column="_id", unique_ids=True)


def _find(folder: str | PathLike[str], name: str) -> Path:
    path = find_plain_or_compressed(Path(folder), name)
    if path is None:
        beside = Path(folder, name).parent
        names = sorted(entry.name for entry in beside.iterdir()) if beside.is_dir() else []
        raise TextError(f"{folder}: has no {name} (nor .gz, .zst); {beside} holds {', '.join(names[:10]) or 'nothing'}")
    return path
