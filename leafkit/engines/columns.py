"""Typed columns for the values that filters compare, in engines that have no column of arbitrary JSON.

A column of the documents is stored by kind of value, so that its type may change (from integers to numbers, from texts
to lists of texts) without another row being written: a number as an integer and as a float, a text as a list, with the
least and the greatest element. The names are hashes, because an engine may accept few names, and a name is not trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or
from leafkit.filters.exact import LEAST, MOST
from leafkit.filters.schema import Schema

INTEGER, FLOAT, BOOLEAN, TEXT, TEXTS = "integer", "float", "boolean", "text", "texts"
# The parts of the column that holds values of each type of `Schema`: the suffix of each part, and what it holds.
_NUMBER = {"i": INTEGER, "f": FLOAT}
_TEXT = {"t": TEXTS, "l": TEXT, "g": TEXT}
_PARTS = {"integer": _NUMBER, "number": _NUMBER, "boolean": {"b": BOOLEAN}, "text": _TEXT, "texts": _TEXT}


def parts_of(schema: Schema) -> dict[str, str]:
    """Return the typed columns for ``schema``: what each holds, by its name."""
    found = {}
    for name, kind in schema.types.items():
        found |= {_name(name, suffix): holds for suffix, holds in _PARTS[kind].items()}
    return found


def typed_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of one row by the name of their typed column; a column that is missing has no value."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            found[_name(name, "b")] = value
        elif isinstance(value, int | float):
            whole = value == int(value) and LEAST <= value <= MOST
            found |= {_name(name, "i"): int(value) if whole else None, _name(name, "f"): _float(value)}
        else:
            texts = [value] if isinstance(value, str) else value
            found |= {_name(name, "t"): texts, _name(name, "l"): min(texts), _name(name, "g"): max(texts)}
    return found


@dataclass(frozen=True)
class Language:
    """How an engine writes conditions about typed columns.

    present: a condition that a column has a value; no other condition may be true without one.
    literal: a number, True, False or a text.
    contains: a condition that a list contains one of some literals.
    equal: the sign of equality.
    """

    present: Callable[[str], str]
    literal: Callable[[Any], str]
    contains: Callable[[str, list[str]], str]
    equal: str


def expression(condition: Condition, schema: Schema, language: Language) -> str:
    """Return a ``condition`` that `leafkit.filters.exact.reduced` returned as an expression of ``language``.

    The expression is true or false for each row, and never null.
    """
    if isinstance(condition, Not):
        return f"(NOT {expression(condition.part, schema, language)})"
    if isinstance(condition, And | Or):
        word = " AND " if isinstance(condition, And) else " OR "
        return f"({word.join(expression(part, schema, language) for part in condition.parts)})"
    kind = schema.types[condition.column]
    main = _name(condition.column, {"number": "f", "integer": "i", "boolean": "b"}.get(kind, "t"))
    if isinstance(condition, Missing):
        return f"(NOT ({language.present(main)}))"
    return f"({language.present(main)} AND {_comparison(condition, main, kind, language)})"


def _comparison(condition: Compare | In, main: str, kind: str, language: Language) -> str:
    values = condition.values if isinstance(condition, In) else (condition.value,)
    literals = [language.literal(_typed(value, kind)) for value in values]
    if isinstance(condition, In) or condition.operator == "=":
        if kind in ("text", "texts"):
            return language.contains(main, literals)
        if len(literals) == 1:
            return f"{main} {language.equal} {literals[0]}"
        opening, closing = ("(", ")") if language.equal == "=" else ("[", "]")
        return f"{main} IN {opening}{', '.join(literals)}{closing}"
    if kind in ("text", "texts"):
        # Some element is less than a text if the least one is, and greater if the greatest one is.
        main = _name(condition.column, "l" if condition.operator in ("<", "<=") else "g")
    return f"{main} {condition.operator} {literals[0]}"


def _typed(value: Any, kind: str) -> Any:
    return _float(value) if kind == "number" else value


def _float(value: float) -> float:
    return float(value) + 0.0  # not -0.0, which is another value in a set


def _name(column: str, suffix: str) -> str:
    digest = hashlib.sha256(column.encode("utf-8", "surrogatepass")).hexdigest()
    return f"c_{digest[:24]}_{suffix}"


def by_column(names: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the typed values of ``rows`` (their fields) by the ``names`` of the columns, None for no value."""
    typed = [typed_values(row) for row in rows]
    return {name: [row.get(name) for row in typed] for name in names}
