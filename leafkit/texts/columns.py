"""Which column of a row is the text, which the id, and when a row is not good enough to be a `Text`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from leafkit.errors import TextError
from leafkit.texts.record import Text
from leafkit.types import ROLES, Role

TEXT_NAMES = ("text", "content", "sentence", "query", "document", "body")
ID_NAMES = ("_id", "id", "docid")
# What exporters of vectors call theirs.
VECTOR_NAMES = ("vector", "embedding", "embeddings", "emb")


class RowError(Exception):
    """A row that cannot be used: ``reason`` is what skipped rows are counted by, the message says it all."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Row(NamedTuple):
    """A row as its format gives it: the line it starts at (or its count from 1), and its columns or a problem."""

    number: int
    columns: dict[str, Any]
    problem: RowError | None = None


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns the user named; None stands for the first of the usual names that a row has."""

    text: str | None = None
    id: str | None = None

    def text_in(self, names: Iterable[str]) -> str:
        """The name of the text column; raises `RowError` where ``names`` has none."""
        candidates = TEXT_NAMES if self.text is None else (self.text,)
        for name in candidates:
            if name in names:
                return name
        wanted = repr(self.text) if self.text else f"one of {', '.join(TEXT_NAMES)}; name another with --text-column"
        raise RowError("no text column", f"got the columns {_listed(names)}, wanted {wanted}")

    def id_in(self, names: Iterable[str]) -> str | None:
        """The name of the id column, None where there is none; raises `RowError` if the user named one."""
        if self.id is None:
            return next((name for name in ID_NAMES if name in names), None)
        if self.id not in names:
            raise RowError("no id", f"got the columns {_listed(names)}, wanted the id in {self.id!r}")
        return self.id

    def check_header(self, names: Sequence[str], where: str) -> str:
        """The text column of a whole table; raises `TextError` if it lacks one or repeats a name."""
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise TextError(f"{where}: the columns {_listed(repeated)} occur more than once; rename all but one")
        try:
            self.id_in(names)
            return self.text_in(names)
        except RowError as bad:
            raise TextError(f"{where}: {bad}") from None

    def read(self, row: Row, *, label: str, role: Role | None, otherwise: Role | None) -> Text:
        """``row`` as a `Text`; raises `RowError` where it is not one.

        ``label`` makes the id of a row that has none; ``role`` overrules the row's own, ``otherwise`` fills it in.
        """
        if row.problem:
            raise row.problem
        columns = row.columns
        text_name, id_name = self.text_in(columns), self.id_in(columns)
        taken = {text_name, id_name, "title", "role"}
        title = "" if text_name == "title" else _title(columns.get("title"))
        own_id = "" if id_name is None else _id(columns[id_name])
        if not own_id and self.id:
            raise RowError("no id", f"got no id in {self.id!r}, wanted one in every row")
        return Text(
            id=own_id or f"{label}:{row.number}",
            text=_text(columns[text_name], text_name, title),
            title=title,
            role=role or _role(columns.get("role")) or otherwise,
            payload={k: v for k, v in columns.items() if k not in taken and not is_vector(k, v)},
        )


def is_vector(name: str, value: Any) -> bool:
    """Whether a column ``name`` that holds ``value`` is the vector of its row."""
    return name in VECTOR_NAMES and isinstance(value, list) and value != [] and isinstance(value[0], int | float)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names) or "(none)"


def _text(value: Any, name: str, title: str) -> str:
    if not isinstance(value, str):
        raise RowError("text not a string", f"got {value!r:.40} as {name}, wanted a string")
    # Some corpora have documents that are a title and nothing else: there is still something to encode.
    if not value.strip() and not title.strip():
        raise RowError("empty text", f"got an empty {name}, wanted some text")
    return value


def _title(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise RowError("title not a string", f"got {value!r:.40} as title, wanted a string")
    return value or ""


def _id(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise RowError("bad id", f"got {value!r:.40} as id, wanted a string or a number")
    return str(value)


def _role(value: Any) -> Role | None:
    if value in (None, ""):
        return None
    for role in ROLES:
        if value == role:
            return role
    raise RowError("unknown role", f"got the role {value!r:.40}, wanted {' or '.join(map(repr, ROLES))}")
