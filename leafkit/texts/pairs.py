"""Pairs of a query and a document that answers it: the query's column ``pair`` names the ids of its documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from leafkit.errors import TextError
from leafkit.texts.record import Text
from leafkit.types import Int64, Role

COLUMN = "pair"


@dataclass
class PairReader:
    """Collects pairs while texts are read, and finds the documents in a second pass.

    Ids are only looked up if there are pairs, so that texts without pairs need no memory for ids.
    """

    _named: list[tuple[bytes, str, str]] = field(default_factory=list)

    def add(self, text: Text, role: Role, key: bytes) -> None:
        """Note the pairs of ``text``, whose hash is ``key``; raise `TextError` for an invalid column ``pair``."""
        ids = pair_ids(text)
        if ids and role != "query":
            raise TextError(
                f"the {role} {text.id!r} has a pair, but pairs are named by queries. Set its role to query, or remove "
                f"its column {COLUMN!r}."
            )
        self._named.extend((key, text.id, document) for document in ids)

    def rows(self, keys: Sequence[bytes], again: Iterable[tuple[Text, Role, bytes]]) -> Int64:
        """Return the rows of query and document of each pair, shape (pairs, 2), each pair once.

        ``keys`` are the hashes of the texts that were kept, (texts,). ``again`` yields all texts once more, with role
        and hash. A pair whose document was read but not kept is dropped. Raises `TextError` for a document that does
        not exist, and for an id that two documents share.
        """
        if not self._named:
            return no_pairs()
        documents = self._documents(again)
        row_of = {key: row for row, key in enumerate(keys)}
        found = [
            (row_of[query], row_of[documents[document]])
            for query, _, document in self._named
            if documents[document] in row_of
        ]
        return numpy.unique(numpy.array(found, dtype=numpy.int64).reshape(-1, 2), axis=0)

    def _documents(self, again: Iterable[tuple[Text, Role, bytes]]) -> dict[str, bytes]:
        """Return the hash of each document that a pair names, by its id."""
        query_of = {document: query for _, query, document in self._named}
        documents: dict[str, bytes] = {}
        for text, role, key in again:
            if role != "document" or text.id not in query_of:
                continue
            if documents.setdefault(text.id, key) != key:
                raise TextError(
                    f"the query {query_of[text.id]!r} has the pair {text.id!r}, but two different documents have this "
                    "id. Give each document an id of its own."
                )
        for document, query in query_of.items():
            if document not in documents:
                raise TextError(
                    f"the query {query!r} has the pair {document!r}, but no document has this id. Give the documents "
                    "as well, or correct the id. An id that contains spaces must be in a list."
                )
        return documents


def pair_ids(text: Text) -> list[str]:
    """Return the ids in the column ``pair`` of ``text``: a list of ids, a number, or a string of ids between spaces.

    Raises `TextError` for anything else.
    """
    value: Any = text.payload.get(COLUMN)
    ids = value.split() if isinstance(value, str) else value if isinstance(value, list) else [value]
    if value is None or value == []:
        return []
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in ids):
        raise TextError(
            f"the pair of {text.id!r} is {value!r:.60}; expected the id of a document, or a list of ids. Correct the "
            f"column {COLUMN!r}, or rename it if it holds something else."
        )
    return [str(each) for each in ids]


def no_pairs() -> Int64:
    """Return an array of no pairs, shape (0, 2)."""
    return numpy.zeros((0, 2), dtype=numpy.int64)
