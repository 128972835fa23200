"""Filters as objects of Qdrant's client, over the values under ``fields`` in the payload of a point.

Qdrant orders numbers as 64-bit floats, and does not order texts. So an integer that a float cannot hold has its two
halves under ``wide`` as well, and the order of texts is that of the different texts of a column, which Qdrant lists.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or

FIELDS, WIDE = "fields", "wide"
_PLAIN = re.compile(r"(?!x_)[A-Za-z_][A-Za-z0-9_]*")
_FLOAT_HOLDS = 1 << 53
_HALF = 32
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def key_of(column: str) -> str:
    """Return the name under which a column is stored: its own if it is one word of ASCII, else in hexadecimal digits.

    A path in Qdrant has dots and brackets with a meaning, so no other character of a stranger may be in it.
    """
    return column if _PLAIN.fullmatch(column) else f"x_{column.encode().hex()}"


def stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a point's payload that filters compare, for the ``fields`` of a row."""
    wide = {key_of(name): _halves(value) for name, value in fields.items() if _is_wide(value)}
    return {FIELDS: {key_of(name): value for name, value in fields.items()}, WIDE: wide}


def _is_wide(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= _FLOAT_HOLDS


def _halves(value: int) -> dict[str, int]:
    return {"high": value >> _HALF, "low": value & ((1 << _HALF) - 1)}


def _path(column: str) -> str:
    return f"{FIELDS}.{key_of(column)}"


class QdrantFilters:
    """Makes filters; ``models`` is the module of the client with the classes of filters.

    ``texts`` returns the different texts under a key.
    """

    def __init__(self, models: Any, texts: Callable[[str], list[str]]) -> None:
        self._models, self._texts = models, texts

    def filter(self, condition: Condition) -> Any:
        """Return the filter of a ``condition`` that `leafkit.filters.exact.reduced` returned."""
        found = self._condition(condition)
        return found if isinstance(found, self._models.Filter) else self._models.Filter(must=[found])

    def _condition(self, condition: Condition) -> Any:
        models = self._models
        if isinstance(condition, Not):
            return models.Filter(must_not=[self._condition(condition.part)])
        if isinstance(condition, And | Or):
            parts = [self._condition(part) for part in condition.parts]
            return models.Filter(must=parts) if isinstance(condition, And) else models.Filter(should=parts)
        column = condition.column
        if isinstance(condition, Missing):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=_path(column)))
        if isinstance(condition, In) or condition.operator == "=":
            return self._one_of(column, list(condition.values) if isinstance(condition, In) else [condition.value])
        if isinstance(condition.value, str):
            order = _ORDERS[condition.operator]
            return self._one_of(column, [text for text in self._texts(_path(column)) if order(text, condition.value)])
        return self._ordered(condition)

    def _one_of(self, column: str, values: list[Any]) -> Any:
        models, key = self._models, _path(column)
        if not values:
            return models.HasIdCondition(has_id=[])
        if isinstance(values[0], str):
            return models.FieldCondition(key=key, match=models.MatchAny(any=values))
        return models.Filter(should=[self._equal(column, value) for value in values])

    def _equal(self, column: str, value: Any) -> Any:
        models = self._models
        if isinstance(value, bool):
            return models.FieldCondition(key=_path(column), match=models.MatchValue(value=value))
        if not _is_wide(value):  # a range, because a float does not match
            return self._range(_path(column), gte=value, lte=value)
        halves = _halves(value).items()
        return models.Filter(must=[self._half(column, half, models.MatchValue(value=part)) for half, part in halves])

    def _ordered(self, condition: Compare) -> Any:
        models, value, sign, column = self._models, condition.value, condition.operator, condition.column
        plain = self._range(_path(column), **{_BOUNDS[sign]: value})
        if not _is_wide(value):
            return plain
        halves, high = _halves(int(value)), f"{WIDE}.{key_of(column)}.high"
        is_wide = models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=high))])
        equal = self._half(column, "high", models.MatchValue(value=halves["high"]))
        below = self._range(f"{WIDE}.{key_of(column)}.low", **{_BOUNDS[sign]: halves["low"]})
        return models.Filter(
            should=[
                models.Filter(must=[plain], must_not=[is_wide]),
                self._range(high, **{_BOUNDS[sign[0]]: halves["high"]}),
                models.Filter(must=[equal, below]),
            ]
        )

    def _half(self, column: str, half: str, match: Any) -> Any:
        return self._models.FieldCondition(key=f"{WIDE}.{key_of(column)}.{half}", match=match)

    def _range(self, key: str, **bounds: Any) -> Any:
        return self._models.FieldCondition(key=key, range=self._models.Range(**bounds))
