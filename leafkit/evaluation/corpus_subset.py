"""A fixed subset of a large corpus: all judged documents, filled up with those whose id has the lowest hash."""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from leafkit.errors import OptionError
from leafkit.texts.beir import read_qrels
from leafkit.texts.record import Text

_log = logging.getLogger("leafkit")


@dataclass(frozen=True)
class CorpusSubset:
    """The chosen documents, and the number of documents in the whole corpus."""

    documents: list[Text]
    corpus_size: int


def check_subset_size(documents: int | None, *, folders: bool) -> None:
    """Raise `OptionError` if ``documents`` is below 1, or given without any folder (``folders`` is False)."""
    if documents is None:
        return
    if documents < 1:
        raise OptionError(f"documents is {documents}; expected at least 1 (--documents).")
    if not folders:
        raise OptionError(
            "--documents takes a subset of each folder in BEIR's layout, but no folder is given. "
            "Add --data or remove --documents."
        )


def judged_splits(folder: Path) -> list[str]:
    """Return the names of the splits that ``folder`` has judgements for, sorted."""
    return sorted({path.name.partition(".tsv")[0] for path in (folder / "qrels").glob("*.tsv*")})


def judged_documents(folder: Path) -> set[str]:
    """Return the ids of all documents that any split judges, whether relevant or not."""
    qrels = (read_qrels(folder, split) for split in judged_splits(folder))
    return {document for judgements in qrels for documents in judgements.values() for document in documents}


def choose_documents(corpus: Iterable[Text], judged: Set[str], documents: int, *, name: str) -> CorpusSubset:
    """Choose ``documents`` texts of ``corpus``: the ``judged`` ones, then those with the lowest SHA-256 of the id.

    A corpus of at most ``documents`` texts is returned whole, in its own order. A subset is sorted by hash, so it
    depends on the ids alone, and a smaller subset is part of every larger one. If more documents are judged than
    requested, all judged documents are kept and a warning names the collection (``name``). Memory holds only the
    documents that may be chosen.
    """
    kept: list[tuple[int, Text]] = []
    seen = 0

    def others() -> Iterator[tuple[int, Text]]:
        nonlocal seen
        for position, text in enumerate(corpus):
            seen = position + 1
            if text.id in judged:
                kept.append((position, text))
            else:
                yield position, text

    fill = heapq.nsmallest(documents, others(), key=_hash_of_id)
    if seen <= documents:
        return CorpusSubset([text for _, text in sorted(kept + fill, key=lambda pair: pair[0])], seen)
    if len(kept) > documents:
        _log.warning("%s: kept all %d judged documents, more than the %d requested", name, len(kept), documents)
    chosen = kept + fill[: max(0, documents - len(kept))]
    return CorpusSubset([text for _, text in sorted(chosen, key=_hash_of_id)], seen)


def _hash_of_id(pair: tuple[int, Text]) -> bytes:
    return hashlib.sha256(pair[1].id.encode("utf-8", "surrogatepass")).digest()
