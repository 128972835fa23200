"""What the embeddings and retrievers of all frameworks share."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OptionError, nearest
from leafkit.search.hits import Hits
from leafkit.search.query_encoder import QueryEncoder
from leafkit.search.searcher import Searcher
from leafkit.space import require_same
from leafkit.types import Encoder

_OPTIONS = [name for name in inspect.signature(Searcher.search).parameters if name not in ("self", "query", "k")]


class Encoders:
    """A student that encodes queries and, where one is given, the encoder of the documents: its teacher."""

    def __init__(self, student: str | Path | Encoder, documents: Encoder | None = None) -> None:
        """Open ``student``, a folder or the name of a student that ships; an open encoder is used as it is.

        Raises the errors of `QueryEncoder.open`, and `SpaceError` if ``documents`` writes into another space.
        """
        self._queries = QueryEncoder.open(student) if isinstance(student, str | Path) else student
        self._documents = documents
        if documents is not None:
            require_same(
                self._queries.space, documents.space, expected_by="the student", got_from="the encoder of documents"
            )

    def query(self, text: str) -> list[float]:
        """Return the student's vector of a query, of ``space.dim`` numbers."""
        return self._queries.encode([text], "query")[0].tolist()

    def documents(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors of documents by the encoder that was given for them; raises `OptionError` without one."""
        if self._documents is None:
            raise OptionError(
                "documents belong to the teacher, but this is its student, which encodes queries: its vectors of "
                "documents are less exact, and an index that mixes both ranks them unfairly. Pass the teacher as "
                "documents=, for example leafkit.open_teacher(...), or embed the documents with `leafkit index`."
            )
        return self._documents.encode(list(texts), "document").tolist()


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit as frameworks want it: its text, the score that orders the hits, and the other columns.

    ``metadata`` has the cosine as ``score`` and, after a hybrid search, the score that ordered the hits as ``fused``.
    """

    id: str
    text: str
    score: float
    metadata: dict[str, Any]


def open_searcher(index: str | Path | Searcher) -> Searcher:
    """Open the folder ``index``; an open searcher is returned as it is."""
    return index if isinstance(index, Searcher) else Searcher.open(index)


def check_options(names: Iterable[str]) -> None:
    """Raise `OptionError` for the first of ``names`` that is no option of `Searcher.search`."""
    for name in names:
        if name not in _OPTIONS:
            hint = f"a search has no option {name!r}; {nearest(name, _OPTIONS)}"
            raise OptionError(hint if hint.endswith("?") else f"{hint}.")


def passages(hits: Hits, text_column: str) -> list[Passage]:
    """Return the hits with the column ``text_column`` as their text; raises `InputError` for a hit without it."""
    found = []
    for row in hits.to_dicts():
        name, text = row.pop("id"), row.pop(text_column, None)
        if not isinstance(text, str):
            raise InputError(
                f"the document {name} has no text in the column {text_column!r}; its columns are "
                f"{', '.join(row)}. Name the column of the text as text_column, or build the index with the texts."
            )
        found.append(Passage(name, text, row.get("fused", row["score"]), row))
    return found
