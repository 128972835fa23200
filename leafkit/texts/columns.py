"""Turning the columns of a row into a `Text`: finding the text and id columns, and rejecting invalid rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from leafkit.errors import TextError
from leafkit.texts.record import Text
from leafkit.types import ROLES, Role

TEXT_NAMES = ("text", "content", "sentence", "query", "document", "body")
ID_NAMES = ("_id", "id", "docid")
# Names that programs which export vectors give to the vector column.
VECTOR_NAMES = ("vector", "embedding", "embeddings", "emb")


class RowError(Exception):
    """An invalid row. The message describes the problem and has no full stop: the caller adds file, line and advice.

    ``reason`` is two or three words; skipped rows are counted by reason.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Row(NamedTuple):
    """A row of a file: its line number (or its position from 1), and its columns or the problem with it."""

    number: int
    columns: dict[str, Any]
    problem: RowError | None = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The names of the text and id columns that the user gave; None means the first usual name among the columns."""

    text: str | None = None
    id: str | None = None

    def text_in(self, names: Iterable[str]) -> str:
        """Return the name of the text column; raise `RowError` if it is not among ``names``."""
        candidates = TEXT_NAMES if self.text is None else (self.text,)
        for name in candidates:
            if name in names:
                return name
        expected = repr(self.text) if self.text else f"one of {', '.join(TEXT_NAMES)} (or name it with --text-column)"
        raise RowError("no text column", f"the columns are {_quoted(names)}; expected {expected}")

    def id_in(self, names: Iterable[str]) -> str | None:
        """Return the name of the id column, or None if no column has a usual name.

        Raises `RowError` if the user named an id column that is missing.
        """
        if self.id is None:
            return next((name for name in ID_NAMES if name in names), None)
        if self.id not in names:
            raise RowError("no id", f"the columns are {_quoted(names)}; expected the id column {self.id!r}")
        return self.id

    def fits(self, names: Sequence[str]) -> bool:
        """Tell whether ``names`` contain a text column, and the id column if the user named one."""
        try:
            self.id_in(names)
            self.text_in(names)
        except RowError:
            return False
        return True

    def check_header(self, names: Sequence[str], where: str) -> str:
        """Return the text column of a table with the columns ``names``.

        Raises `TextError` naming ``where`` if a column is missing or if two columns have the same name.
        """
        if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
            raise TextError(f"{where}: the column names {_quoted(repeated)} occur more than once. Rename all but one.")
        try:
            self.id_in(names)
            return self.text_in(names)
        except RowError as error:
            raise TextError(f"{where}: {error}.") from None

    def to_text(self, row: Row, *, label: str, role: Role | None, default_role: Role | None) -> Text:
        """Return ``row`` as a `Text`; raise `RowError` if the row is invalid.

        label: a row without an id gets the id ``label:row number``.
        role: overrides the role column.
        default_role: the role of a row for which neither ``role`` nor the role column gives one.
        """
        if row.problem:
            raise row.problem
        columns = row.columns
        text_name, id_name = self.text_in(columns), self.id_in(columns)
        used = {text_name, id_name, "title", "role"}
        title = "" if text_name == "title" else _title(columns.get("title"))
        own_id = "" if id_name is None else _id(columns[id_name])
        if not own_id and self.id:
            raise RowError("no id", f"the id column {self.id!r} is empty; expected an id in every row")
        return Text(
            id=own_id or f"{label}:{row.number}",
            text=_text(columns[text_name], text_name, title),
            title=title,
            role=role or _role(columns.get("role")) or default_role,
            payload={k: v for k, v in columns.items() if k not in used and not is_vector(k, v)},
        )


def is_vector(name: str, value: Any) -> bool:
    """Tell whether ``value`` in the column ``name`` is a vector: a list of numbers under a usual name for vectors."""
    return name in VECTOR_NAMES and isinstance(value, list) and value != [] and isinstance(value[0], int | float)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "(none)"


def _text(value: Any, name: str, title: str) -> str:
    if not isinstance(value, str):
        raise RowError("text not a string", f"the text column {name!r} holds {value!r:.40}; expected a string")
    # A title without a text is valid: some corpora have such documents, and the title can be encoded.
    if not value.strip() and not title.strip():
        raise RowError("empty text", f"the text column {name!r} is empty; expected a text")
    return value


def _title(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise RowError("title not a string", f"the title is {value!r:.40}; expected a string")
    return value or ""


def _id(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError("bad id", f"the id is {value!r:.40}; expected a string or a number")
    return str(value)


def _role(value: Any) -> Role | None:
    if value in (None, ""):
        return None
    for role in ROLES:
        if value == role:
            return role
    raise RowError("unknown role", f"the role is {value!r:.40}; expected {' or '.join(map(repr, ROLES))}")
