"""A retrieval test collection read from a folder in BEIR's layout."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from leafkit.errors import OptionError, TextError
from leafkit.evaluation.corpus_subset import CorpusSubset, choose_documents, judged_documents, splits
from leafkit.evaluation.metrics import judged_queries
from leafkit.evaluation.provenance import folder_digest
from leafkit.texts.beir import is_beir, read_corpus, read_qrels, read_queries

_log = logging.getLogger("leafkit")


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Documents, the queries that have a relevant document, and which those are.

    ``titles`` and ``bodies`` are BEIR's two columns; ``documents`` is what is encoded. ``total`` counts the corpus
    before it was cut. ``sha256`` covers the corpus, the queries and the judgements that decide what is measured:
    those of the split, or of all splits where the corpus was cut.
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
    total: int
    sha256: str


def read_collection(
    folder: str | PathLike[str],
    split: str = "test",
    *,
    name: str | None = None,
    skip_bad: bool = False,
    documents: int | None = None,
) -> Collection:
    """The collection in ``folder``; raises `OptionError` naming the splits it has where ``split`` is not one.

    Judged queries without a relevant document do not count (no ranking could score on them). With ``skip_bad``
    documents and queries that cannot be used are left out and counted in the log. A corpus of more than
    ``documents`` is cut as `choose_documents` says.
    """
    path = Path(folder)
    check_folder(path, split)
    judgements = judged_queries(read_qrels(path, split))
    texts = read_queries(path, skip_bad=skip_bad)
    missing = sorted(query for query in judgements if query not in texts)
    judgements = {query: judged for query, judged in judgements.items() if query in texts}
    if not judgements:
        raise TextError(
            f"{path}: no query of queries.jsonl has a relevant document in qrels/{split}.tsv; do their ids agree?"
        )
    if missing:
        _log.warning("%s: %d judged queries have no text and do not count, e.g. %r", path, len(missing), missing[0])
    name = name or path.resolve().name
    cut = _cut(path, name, documents, skip_bad)
    corpus = cut.documents
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
        total=cut.total,
        sha256=collection_digest(path, split if documents is None else "*"),
    )
    _check_ids(path, collection)
    return collection


def _cut(folder: Path, name: str, documents: int | None, skip_bad: bool) -> CorpusSubset:
    corpus = read_corpus(folder, skip_bad=skip_bad)
    if documents is None:
        whole = list(corpus)
        return CorpusSubset(whole, len(whole))
    return choose_documents(corpus, judged_documents(folder), documents, name=name)


def check_folder(folder: Path, split: str) -> None:
    """Raise `OptionError` unless ``folder`` has BEIR's layout and judgements for ``split``; lists those it has."""
    if not is_beir(folder):
        raise OptionError(
            f"{folder} is not a folder in BEIR's layout; wanted corpus.jsonl, queries.jsonl and qrels/{split}.tsv in it"
        )
    found = splits(folder)
    if split not in found:
        raise OptionError(
            f"{folder} has no judgements for the split {split!r}; it has: {', '.join(found) or 'none'} (--split)"
        )


def collection_digest(folder: Path, split: str) -> str:
    """One SHA-256 over the corpus, the queries and the judgements of ``split``, or of every split where it is ``*``."""
    patterns = ("corpus.jsonl*", "queries.jsonl*", f"qrels/{split}.tsv*")
    return folder_digest(folder, (path for pattern in patterns for path in folder.glob(pattern)))


def _check_ids(folder: Path, collection: Collection) -> None:
    documents = set(collection.document_ids)
    judged = {document for relevances in collection.judgements.values() for document in relevances}
    if not judged & documents:
        raise TextError(
            f"{folder}: none of the {len(judged)} judged documents is in the corpus (judged {min(judged)!r}, "
            f"corpus {min(documents, default='nothing')!r}); are corpus and qrels of the same collection?"
        )
    own = [query for query, relevances in collection.judgements.items() if relevances.get(query, 0) > 0]
    if own:
        _log.warning(
            "%s: %d queries have a relevant document of their own id, e.g. %r; such documents are dropped from the "
            "results, as BEIR does",
            folder,
            len(own),
            own[0],
        )
