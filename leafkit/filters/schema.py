"""The columns that filters may name, with their types, and the check of a condition against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from leafkit.errors import OptionError, nearest
from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or, Value

KINDS = {
    "integer": "integers",
    "number": "numbers",
    "boolean": "true or false",
    "text": "text",
    "texts": "lists of text",
}


@dataclass(frozen=True, slots=True)
class Schema:
    """The type of each column, out of ``KINDS``.

    ``left_out`` maps the names of other payload fields to the reason why filters cannot name them, and ``complete`` is
    False if the documents have further fields, which are not listed.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True

    def check(self, condition: Condition) -> None:
        """Raise `OptionError` for an unknown column and for a value of another type than its column's."""
        if isinstance(condition, Not):
            self.check(condition.part)
        elif isinstance(condition, And | Or):
            for part in condition.parts:
                self.check(part)
        else:
            self.check_leaf(condition)

    def check_leaf(self, condition: Compare | In | Missing) -> str:
        """Return the type of the column that ``condition`` names; raises the errors of `check`."""
        kind = self._type(condition.column)
        if not isinstance(condition, Missing):
            for value in condition.values if isinstance(condition, In) else (condition.value,):
                _check_type(condition, kind, value)
        return kind

    def without(self, problems: Mapping[str, str]) -> Schema:
        """Return the schema without the columns named in ``problems``, which gives the reason for each."""
        types = {name: kind for name, kind in self.types.items() if name not in problems}
        dropped = {name: problems[name] for name in self.types if name in problems}
        return Schema(types, {**self.left_out, **dropped}, self.complete)

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a JSON file; `from_json` reads them back."""
        return {"types": dict(self.types), "left_out": dict(self.left_out), "complete": self.complete}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Schema:
        """Return the schema that `to_json` wrote; raises ValueError, KeyError or TypeError for anything else."""
        types = {str(name): kind for name, kind in dict(fields["types"]).items()}
        if not set(types.values()) <= set(KINDS):
            raise ValueError(f"a column has a type out of {sorted(map(str, set(types.values())))}")
        left_out = {str(name): str(reason)[:200] for name, reason in dict(fields["left_out"]).items()}
        return cls(types, left_out, fields["complete"] is True)

    def _type(self, column: str) -> str:
        kind = self.types.get(column)
        if kind is not None:
            return kind
        if column in self.left_out:
            raise OptionError(f"the column {column!r:.200} cannot be filtered: it {self.left_out[column]}.")
        if not self.types:
            raise OptionError(f"the documents of this index have no column to filter by, and so no {column!r:.200}.")
        rare = "" if self.complete else " Fields beyond the first 64 of the documents are no columns."
        raise OptionError(f"the documents have no column {column!r:.200} ({nearest(column[:200], self.types)}).{rare}")


def _check_type(condition: Compare | In, kind: str, value: Value) -> None:
    got = {bool: "boolean", str: "text"}.get(type(value), "number")
    if got != {"integer": "number", "texts": "text"}.get(kind, kind):
        raise OptionError(
            f"the column {condition.column!r:.200} holds {KINDS[kind]}, but the filter compares it with "
            f"{value!r:.200}. Compare it with {'a text in quotes' if 'text' in kind else KINDS[kind]}."
        )
    if kind == "boolean" and isinstance(condition, Compare) and condition.operator != "=":
        raise OptionError(
            f"the column {condition.column!r:.200} holds true or false, which {condition.operator} cannot compare. "
            "Use = or !=."
        )
