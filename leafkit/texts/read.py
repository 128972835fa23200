"""Reading texts from files, folders and hub datasets, one at a time, so that a source may be larger than memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from os import PathLike
from typing import Any

from leafkit.errors import TextError
from leafkit.options import takes
from leafkit.texts.columns import Columns, Row, RowError
from leafkit.texts.options import ReadingOptions
from leafkit.texts.record import Text
from leafkit.texts.sentences import pick_sentence
from leafkit.texts.source import Source, find_sources, split_prefix
from leafkit.types import Role, check_role

logger = logging.getLogger("leafkit")

# What `check_texts` reads: rows of each file, and files of each folder of Parquet files.
FIRST_ROWS = 1000
FIRST_FILES = 100


@takes(ReadingOptions)
def read_texts(
    sources: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    role: str | None = None,
    unique_ids: bool = False,
    **options: Any,
) -> Iterator[Text]:
    """Yield every text of ``sources`` in order, reading lazily.

    sources: one source or several. A source is a JSONL, CSV, TSV, Parquet or plain text file (each may end in .gz or
        .zst), a folder in BEIR layout (its corpus, as documents), a folder of Parquet files, a folder written by
        `datasets`, a folder of .txt and .md files (each one document, whose id is its path in the folder), or
        ``hub:owner/name[:split]``. The prefix ``query:`` or ``document:`` sets the role of all rows.
        The prefix ``sentences:`` picks one sentence of each row as a query, for documents without queries.
    role: the role of rows for which neither a prefix nor a role column gives one.
    unique_ids: treat a row whose id occurred before as invalid. All ids are kept in memory.

    The columns title and role are read too. All other columns become the payload, except vectors (a list of numbers in
    a column named vector, embedding, embeddings or emb).

    Raises `TextError` naming file and row for an invalid row, for a missing source (before anything is read), and for
    a source without any text.
    """
    given = ReadingOptions(**options)
    default = None if role is None else check_role(role)
    if isinstance(sources, str | PathLike):
        sources = [sources]
    opened = [part for source in sources for part in find_sources(source)]
    if not opened:
        raise TextError("no sources of texts were given; expected at least one file, folder or hub dataset.")
    reader = _Reader.of(given, role=default, seen={} if unique_ids else None)
    return (text for source in opened for text in reader.texts(source))


def check_texts(sources: str | PathLike[str] | Sequence[str | PathLike[str]], reading: ReadingOptions) -> None:
    """Read the first rows of ``sources``, so that a wrong path, column or encoding is found within a moment.

    Call this before something slow, such as opening a model. Hub datasets are left out, because they are downloaded.
    Raises `TextError` as `read_texts` does.
    """
    names = [sources] if isinstance(sources, str | PathLike) else sources
    local = [name for name in names if not split_prefix(str(name))[1].startswith("hub:")]
    reader = _Reader.of(reading, role=None, seen=None)
    for source in (part for name in local for part in find_sources(name)[:FIRST_FILES]):
        reader.check(source)


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Reads the sources of one call; ``seen`` holds file and row of each id, or is None if ids may repeat."""

    columns: Columns
    role: Role | None
    skip_bad: bool
    seen: dict[str, tuple[str, int]] | None

    @classmethod
    def of(cls, reading: ReadingOptions, *, role: Role | None, seen: dict[str, tuple[str, int]] | None) -> _Reader:
        columns = Columns(text=reading.text_column, id=reading.id_column)
        return cls(columns=columns, role=role, skip_bad=reading.skip_bad, seen=seen)

    def check(self, source: Source) -> None:
        """Raise `TextError` if ``source`` is empty, or if one of its first rows is invalid and may not be skipped."""
        read = 0
        for row in islice(source.rows(self.columns), FIRST_ROWS):
            read += 1
            try:
                self._text(row, source)
            except RowError as error:
                self._refuse(error, row, source)
        _report(source.name, read, Counter())

    def texts(self, source: Source) -> Iterator[Text]:
        if source.note:
            logger.info(source.note)
        skipped: Counter[str] = Counter()
        read = 0
        for row in source.rows(self.columns):
            read += 1
            try:
                text = self._text(row, source)
            except RowError as error:
                self._refuse(error, row, source)
                skipped[error.reason] += 1
            else:
                yield text
        _report(source.name, read, skipped)

    def _refuse(self, error: RowError, row: Row, source: Source) -> None:
        """Raise `TextError` for an invalid ``row``, unless invalid rows are skipped."""
        if not self.skip_bad:
            advice = "Correct the row, or skip invalid rows with --skip-bad."
            raise TextError(f"{source.name}:{row.number}: {error}. {advice}") from None

    def _text(self, row: Row, source: Source) -> Text:
        text = self.columns.to_text(row, label=source.label, role=source.role, default_role=self.role)
        if source.sentences:
            text = pick_sentence(text)
        if self.seen is not None:
            if text.id in self.seen:
                name, number = self.seen[text.id]
                raise RowError("id twice", f"the id {text.id!r} also occurs at {name}:{number}; expected unique ids")
            self.seen[text.id] = (source.name, row.number)
        return text


def _report(name: str, read: int, skipped: Counter[str]) -> None:
    """Raise `TextError` if a source gave no text at all, and log how many rows were skipped, by reason."""
    total = skipped.total()
    counts = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common())
    if not read:
        raise TextError(f"{name}: the source is empty; expected at least one text.")
    if total == read:
        raise TextError(f"{name}: all {read} rows are invalid ({counts}).")
    if total:
        logger.warning("%s: skipped %d of %d rows (%s)", name, total, read, counts)
