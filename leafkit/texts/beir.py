"""Reading folders in BEIR layout: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, each plain, .gz or .zst."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from leafkit.errors import TextError
from leafkit.texts.columns import Row, RowError
from leafkit.texts.delimited import table_rows
from leafkit.texts.options import ReadingOptions
from leafkit.texts.read import check_texts, read_texts
from leafkit.texts.record import Text
from leafkit.texts.source import find_plain_or_compressed
from leafkit.types import Role

QRELS_COLUMNS = ("query-id", "corpus-id", "score")


def is_beir(folder: str | PathLike[str]) -> bool:
    """Tell whether ``folder`` contains the corpus of a BEIR dataset."""
    return find_plain_or_compressed(Path(folder), "corpus.jsonl") is not None


def read_corpus(folder: str | PathLike[str], *, skip_bad: bool = False) -> Iterator[Text]:
    """Yield every document with its title, in file order; raise `TextError` naming both lines of a repeated id."""
    return _read(folder, "corpus.jsonl", "document", skip_bad)


def read_queries(folder: str | PathLike[str], *, skip_bad: bool = False) -> dict[str, str]:
    """Return a dict from query id to text, for all splits; raise `TextError` naming both lines of a repeated id."""
    return {query.id: query.text for query in _read(folder, "queries.jsonl", "query", skip_bad)}


def check_beir(folder: str | PathLike[str], split: str, *, skip_bad: bool = False) -> None:
    """Read the judgements of ``split`` and the first documents and queries, so that an error is found in a moment.

    Raises `TextError` as `read_corpus`, `read_queries` and `read_qrels` do.
    """
    for name in ("corpus.jsonl", "queries.jsonl"):
        check_texts(_find(folder, name), ReadingOptions(skip_bad=skip_bad, text_column="text", id_column="_id"))
    read_qrels(folder, split)


def read_qrels(folder: str | PathLike[str], split: str = "test") -> dict[str, dict[str, int]]:
    """Return the judgements of ``split`` as a dict: query id to document id to score.

    The ids are not compared with the folder's queries and documents: judgements of missing queries and documents are
    kept.
    Raises `TextError` naming the line of a row that does not hold two ids and an integer.
    """
    path = _find(folder, f"qrels/{split}.tsv")
    qrels: dict[str, dict[str, int]] = {}
    for row in table_rows(path, "\t", _check_qrels_header):
        try:
            _add_judgement(qrels, row)
        except RowError as error:
            raise TextError(f"{path}:{row.number}: {error}.") from None
    if not qrels:
        raise TextError(f"{path}: the file is empty; expected at least one judgement.")
    return qrels


def _check_qrels_header(names: Sequence[str], where: str) -> None:
    if not set(QRELS_COLUMNS) <= set(names):
        raise TextError(f"{where}: the header is {names}; expected {', '.join(QRELS_COLUMNS)} separated by tabs.")


def _add_judgement(qrels: dict[str, dict[str, int]], row: Row) -> None:
    if row.problem:
        raise row.problem
    query, document, score = (row.columns[name] for name in QRELS_COLUMNS)
    if not query or not document:
        raise RowError("no id", f"the query id is {query!r} and the document id is {document!r}; expected both")
    try:
        value = int(score)
    except ValueError:
        raise RowError("bad score", f"the score is {score!r}; expected an integer") from None
    if qrels.setdefault(query, {}).setdefault(document, value) != value:
        before = qrels[query][document]
        problem = f"the score of {query!r} and {document!r} is {value} here, but {before} in an earlier row"
        raise RowError("judged twice", problem)


def _read(folder: str | PathLike[str], name: str, role: Role, skip_bad: bool) -> Iterator[Text]:
    path = _find(folder, name)
    return read_texts(path, role=role, skip_bad=skip_bad, text_column="text", id_column="_id", unique_ids=True)


def _find(folder: str | PathLike[str], name: str) -> Path:
    path = find_plain_or_compressed(Path(folder), name)
    if path is None:
        parent = Path(folder, name).parent
        names = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
        raise TextError(
            f"{folder} does not contain {name} (or {name}.gz, {name}.zst). "
            f"{parent} contains: {', '.join(names[:10]) or 'nothing'}."
        )
    return path
