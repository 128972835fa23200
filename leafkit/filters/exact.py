"""Comparisons rewritten for stores of 64-bit numbers and UTF-8 texts, with the results that Python's would have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or, Value
from leafkit.filters.schema import Schema

# The integers of a column; the smallest of 64 bits stands for no value.
LEAST, MOST = -(1 << 63) + 1, (1 << 63) - 1
NO_TEXT = re.compile("[\x00\ud800-\udfff]")  # what a text in many databases cannot hold


def reduced(condition: Condition, schema: Schema) -> Condition | bool:
    """Check ``condition`` against ``schema`` and return an equal one that simpler stores can evaluate.

    In the result every comparison has a value of the type of its column: an integer of 64 bits for ``integer``, a
    finite float for ``number``, True or False for ``boolean``, and a text without NUL and half surrogate pairs for
    ``text`` and ``texts``, whose own values must have none either. What is then true or false for all documents is
    returned as a boolean. Raises the errors of `Schema.check`.
    """
    if isinstance(condition, Not):
        part = reduced(condition.part, schema)
        return not part if isinstance(part, bool) else Not(part)
    if isinstance(condition, And | Or):
        return _joined(type(condition), [reduced(part, schema) for part in condition.parts])
    kind = schema.check_leaf(condition)
    if isinstance(condition, Missing) or kind == "boolean":
        return condition
    if isinstance(condition, In) or condition.operator == "=":
        values = condition.values if isinstance(condition, In) else (condition.value,)
        return _one_of(condition.column, dict.fromkeys(held(kind, value) for value in values))
    return _comparison(condition, kind)


def held(kind: str, value: Value) -> int | float | str | None:
    """Return the value that a column of type ``kind`` can hold and that equals ``value``; None if there is none."""
    if isinstance(value, str):
        return None if NO_TEXT.search(value) else value
    if kind == "number":
        nearby = nearest_float(value)
        return nearby if nearby == value and math.isfinite(nearby) else None
    if value != math.floor(value):
        return None
    return int(value) if LEAST <= value <= MOST else None


def integer_bound(operator: str, value: float) -> tuple[str, int]:
    """Return a comparison with an integer that is true for the same integers as the one with ``value``."""
    below = math.floor(value)
    if below != value:
        # Between two integers, so < and <= of the one below are the same.
        operator = {"<": "<=", ">=": ">"}.get(operator, operator)
    return operator, below


def float_bound(operator: str, value: float) -> tuple[str, float]:
    """Return a comparison with a float, which may be infinite, that is true for the same floats as with ``value``."""
    bound = nearest_float(value)
    if bound < value:
        operator = {"<": "<=", ">=": ">"}.get(operator, operator)
    elif bound > value:
        operator = {"<=": "<", ">": ">="}.get(operator, operator)
    return operator, bound


def nearest_float(value: Any) -> float:
    """Return the float nearest to ``value``, which is infinite for integers beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _one_of(column: str, values: Iterable[Any]) -> Condition | bool:
    known = tuple(value for value in values if value is not None)
    if not known:
        return False
    return Compare(column, "=", known[0]) if len(known) == 1 else In(column, known)


def _comparison(condition: Compare, kind: str) -> Condition | bool:
    column, operator, value = condition.column, condition.operator, condition.value
    present = Not(Missing(column))
    if isinstance(value, str):
        return _text_comparison(column, operator, value)
    if kind == "number":
        operator, bound = float_bound(operator, value)
        if math.isinf(bound):
            return present if (bound > 0) == (operator in ("<", "<=")) else False
        return Compare(column, operator, bound)
    operator, whole = integer_bound(operator, value)
    if not LEAST <= whole <= MOST:
        return present if (whole > 0) == (operator in ("<", "<=")) else False
    return Compare(column, operator, whole)


def _text_comparison(column: str, operator: str, value: str) -> Condition:
    """Compare with a text that the column can hold. Texts are ordered by code point.

    NUL comes before all characters that a column can hold, so what follows the text before it is greater. Half of a
    surrogate pair comes just before U+E000.
    """
    found = NO_TEXT.search(value)
    if found is None:
        return Compare(column, operator, value)
    before = value[: found.start()]
    if found[0] == "\x00":
        return Compare(column, "<=" if operator in ("<", "<=") else ">", before)
    return Compare(column, "<" if operator in ("<", "<=") else ">=", f"{before}\ue000")


def _joined(kind: type[And | Or], parts: list[Condition | bool]) -> Condition | bool:
    decides = kind is Or  # the value of one part that decides the whole
    if any(part is decides for part in parts):
        return decides
    left = tuple(part for part in parts if not isinstance(part, bool))
    if len(left) < 2:
        return left[0] if left else not decides
    return kind(left)
