"""Texts from files, folders and hub datasets, one at a time, so that a source may be larger than memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from leafkit.errors import TextError
from leafkit.options import takes
from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.options import ReadingOptions
from leafkit.texts.record import Text
from leafkit.texts.sentences import pick_sentence
from leafkit.texts.source import Source, find_sources
from leafkit.types import Role, check_role

logger = logging.getLogger("leafkit")


@takes(ReadingOptions)
def read_texts(
    sources: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    role: str | None = None,
    unique_ids: bool = False,
    **options: Any,
) -> Iterator[Text]:
    """Every text of ``sources`` in order, read as it is asked for.

    A source is a JSONL, CSV, TSV, Parquet or plain text file (each may end in .gz or .zst), a BEIR folder (its
    corpus, as documents), a folder of Parquet files, one written by `datasets` or ``hub:owner/name[:split]``. The
    prefix ``query:`` or ``document:`` gives all its rows that role; ``role`` is for rows which neither that nor a role
    column tells.
    ``sentences:`` gives one sentence of each row as a query, where there are documents and no queries.
    The text is in ``text_column``, or the first of text, content, sentence, query, document, body; the id is in
    ``id_column``, or the first of _id, id, docid, or else ``file name:row number``. All but title, role
    and vectors (vector, embedding, embeddings or emb, a list of numbers) is payload.

    Raises `TextError` naming file and row at the first bad row, or with ``skip_bad`` leaves such rows out and logs
    how many; with ``unique_ids`` a row is bad if its id came before (every id is kept in memory). A source that does
    not exist is found before anything is read; one that yields no text is an error.
    """
    given = ReadingOptions(**options)
    default = None if role is None else check_role(role)
    if isinstance(sources, str | PathLike):
        sources = [sources]
    found = [one for source in sources for one in find_sources(source)]
    if not found:
        raise TextError("got no sources of texts, wanted at least one")
    reading = _Reading(
        columns=Columns(text=given.text_column, id=given.id_column),
        role=default,
        skip_bad=given.skip_bad,
        places={} if unique_ids else None,
    )
    return (text for source in found for text in reading.texts(source))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """How all sources of one call are read; ``places`` remembers where each id was, if ids are to be unique."""

    columns: Columns
    role: Role | None
    skip_bad: bool
    places: dict[str, tuple[str, int]] | None

    def texts(self, source: Source) -> Iterator[Text]:
        skipped: Counter[str] = Counter()
        read = 0
        for row in source.rows(self.columns):
            read += 1
            try:
                text = self._text(row, source)
            except RowError as bad:
                if not self.skip_bad:
                    message = f"{source.name}:{row.number}: {bad}; use --skip-bad to leave such rows out"
                    raise TextError(message) from None
                skipped[bad.reason] += 1
            else:
                yield text
        _report(source.name, read, skipped)

    def _text(self, row: Row, source: Source) -> Text:
        text = self.columns.read(row, label=source.label, role=source.role, otherwise=self.role)
        if source.sentences:
            text = pick_sentence(text)
        if self.places is not None:
            if text.id in self.places:
                name, number = self.places[text.id]
                raise RowError("id twice", f"got the id {text.id!r} again, which {name}:{number} has; wanted it once")
            self.places[text.id] = (source.name, row.number)
        return text


def _report(name: str, read: int, skipped: Counter[str]) -> None:
    left_out = skipped.total()
    counts = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    if not read:
        raise TextError(f"{name}: is empty, wanted at least one text")
    if left_out == read:
        raise TextError(f"{name}: none of its {read} rows can be used ({counts})")
    if left_out:
        logger.warning("%s: left out %d of %d rows (%s)", name, left_out, read, counts)
