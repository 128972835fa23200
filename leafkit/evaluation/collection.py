"""Read a retrieval test collection from a folder in BEIR's layout."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError, TextError
from leafkit.evaluation.corpus_subset import CorpusSubset, choose_documents, judged_documents, judged_splits
from leafkit.evaluation.metrics import judged_queries
from leafkit.evaluation.provenance import folder_digest
from leafkit.texts.beir import is_beir, read_corpus, read_qrels, read_queries

_log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Documents, the queries that have at least one relevant document, and the judgements of these queries.

    ``titles`` and ``bodies`` are BEIR's two columns. ``documents`` are the texts to encode: title and body joined.
    ``corpus_size`` counts the documents on disk, also if only a subset was read. ``sha256`` covers the corpus, the
    queries and the judgements that decide what is measured: those of the split, or of all splits for a subset.
    """

    name: str
    split: str
    document_ids: list[str]
    titles: list[str] = field(repr=False)
    bodies: list[str] = field(repr=False)
    documents: list[str] = field(repr=False)
    query_ids: list[str]
    queries: list[str] = field(repr=False)
    judgements: dict[str, dict[str, int]] = field(repr=False)
    corpus_size: int
    sha256: str


def read_collection(
    folder: str | PathLike[str],
    split: str = "test",
    *,
    name: str | None = None,
    skip_bad: bool = False,
    documents: int | None = None,
) -> Collection:
    """Read the collection in ``folder`` with the judgements of ``split``.

    Queries without a relevant document are ignored, since no ranking could score on them. ``name`` defaults to the
    folder's name. ``skip_bad`` skips invalid documents and queries and logs how many. ``documents`` reads a fixed
    subset of a larger corpus, chosen by `choose_documents`. Raises `OptionError` with the available splits if
    ``split`` is missing, and `TextError` if the files do not belong together or hold an invalid row.
    """
    path = Path(folder)
    check_folder(path, split)
    judgements = judged_queries(read_qrels(path, split))
    texts = read_queries(path, skip_bad=skip_bad)
    missing = sorted(query for query in judgements if query not in texts)
    judgements = {query: judged for query, judged in judgements.items() if query in texts}
    if not judgements:
        raise TextError(
            f"{path}: no query of queries.jsonl has a relevant document in qrels/{split}.tsv. "
            "Check that both files use the same query ids."
        )
    if missing:
        _log.warning("%s: ignored %d judged queries without a text, e.g. %r", path, len(missing), missing[0])
    name = name or path.resolve().name
    subset = _read_documents(path, name, documents, skip_bad)
    corpus = subset.documents
    collection = Collection(
        name=name,
        split=split,
        document_ids=[text.id for text in corpus],
        titles=[text.title for text in corpus],
        bodies=[text.text for text in corpus],
        documents=[text.full_text for text in corpus],
        query_ids=list(judgements),
        queries=[texts[query] for query in judgements],
        judgements=judgements,
        corpus_size=subset.corpus_size,
        sha256=collection_digest(path, split if documents is None else "*"),
    )
    _check_ids(path, collection)
    return collection


def _read_documents(folder: Path, name: str, documents: int | None, skip_bad: bool) -> CorpusSubset:
    corpus = read_corpus(folder, skip_bad=skip_bad)
    if documents is None:
        everything = list(corpus)
        return CorpusSubset(everything, len(everything))
    return choose_documents(corpus, judged_documents(folder), documents, name=name)


def check_folder(folder: Path, split: str) -> None:
    """Raise `OptionError` unless ``folder`` has BEIR's layout and judgements for ``split``."""
    if not is_beir(folder):
        raise OptionError(
            f"{folder} is not a folder in BEIR's layout; expected corpus.jsonl, queries.jsonl and qrels/{split}.tsv "
            "in this folder."
        )
    found = judged_splits(folder)
    if split not in found:
        raise OptionError(
            f"{folder} has no judgements for the split {split!r}; expected one of: {', '.join(found) or 'none'}. "
            "Choose another split (--split)."
        )


def collection_digest(folder: Path, split: str) -> str:
    """Return one SHA-256 over the corpus, the queries and the judgements of ``split`` (``*`` for every split)."""
    patterns = ("corpus.jsonl*", "queries.jsonl*", f"qrels/{split}.tsv*")
    return folder_digest(folder, (path for pattern in patterns for path in folder.glob(pattern)))


def _check_ids(folder: Path, collection: Collection) -> None:
    """Raise `TextError` if no judged document is in the corpus; warn about documents with their query's id."""
    documents = set(collection.document_ids)
    judged = {document for relevances in collection.judgements.values() for document in relevances}
    if not judged & documents:
        raise TextError(
            f"{folder}: none of the {len(judged)} judged documents is in the corpus (lowest judged id "
            f"{min(judged)!r}, lowest corpus id {min(documents, default='none')!r}). Check that the corpus and qrels "
            "belong to the same collection."
        )
    same_id = [query for query, relevances in collection.judgements.items() if relevances.get(query, 0) > 0]
    if same_id:
        _log.warning(
            "%s: %d queries have a relevant document with the query's own id, e.g. %r. Such documents are removed from "
            "the results, as BEIR does.",
            folder,
            len(same_id),
            same_id[0],
        )
