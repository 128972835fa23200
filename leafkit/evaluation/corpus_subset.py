"""A fixed cut of a large corpus: every judged document, filled up with those whose id has the lowest hash."""

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
    """The documents that were kept, and of how many."""

    documents: list[Text]
    total: int


def check_subset_size(documents: int | None, *, folders: bool) -> None:
    """Raise `OptionError` unless a cut of ``documents`` can be made of what there is to measure."""
    if documents is None:
        return
    if documents < 1:
        raise OptionError(f"got {documents} documents to measure on, wanted at least 1 (--documents)")
    if not folders:
        raise OptionError("--documents cuts folders in BEIR's layout, and none is given; add --data or leave it out")


def splits(folder: Path) -> list[str]:
    """The names of the splits that ``folder`` has judgements of."""
    return sorted({path.name.partition(".tsv")[0] for path in (folder / "qrels").glob("*.tsv*")})


def judged_documents(folder: Path) -> set[str]:
    """The ids of all documents that any split judges, relevant or not."""
    qrels = (read_qrels(folder, split) for split in splits(folder))
    return {document for judgements in qrels for documents in judgements.values() for document in documents}


def choose_documents(corpus: Iterable[Text], judged: Set[str], documents: int, *, name: str) -> CorpusSubset:
    """``documents`` of ``corpus``: those ``judged``, then those with the lowest SHA-256 of the id.

    A corpus that has no more stays whole, in its order; a cut is in the order of the hashes, so that it depends on
    the ids alone. A smaller cut is part of every larger one. Where more are judged, all those are kept, and ``name``
    is told in the log. Only what may be kept is held in memory.
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

    fill = heapq.nsmallest(documents, others(), key=_rank)
    if seen <= documents:
        return CorpusSubset([text for _, text in sorted(kept + fill, key=lambda pair: pair[0])], seen)
    if len(kept) > documents:
        _log.warning("%s: %d documents are judged, all are kept, more than the %d wanted", name, len(kept), documents)
    chosen = kept + fill[: max(0, documents - len(kept))]
    return CorpusSubset([text for _, text in sorted(chosen, key=_rank)], seen)


def _rank(pair: tuple[int, Text]) -> bytes:
    return hashlib.sha256(pair[1].id.encode("utf-8", "surrogatepass")).digest()
