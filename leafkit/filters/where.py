"""The language of filters: which documents a search may find, as an expression or as a mapping.

Both forms give the same condition, and neither is ever evaluated as Python::

    category = "linux" and year >= 2020 and not tag in ("old", "draft")
    {"category": "linux", "year": {">=": 2020}, "not": {"tag": {"in": ["old", "draft"]}}}

`leafkit.filters.where_text` parses the expression, and `leafkit.search.columns` finds the rows. Every condition is true
or false, also for a document without a value: a comparison is then false, and ``!=`` is the opposite of ``=``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from leafkit.errors import OptionError, nearest
from leafkit.filters.conditions import (
    COMPARISONS,
    DEEPEST,
    And,
    Compare,
    Condition,
    In,
    Missing,
    Not,
    Or,
    Value,
    check_size,
    joined,
)
from leafkit.filters.where_text import parse_where

Where = str | Mapping[str, Any]


def read_where(where: Where) -> Condition:
    """Read a filter from an expression or a mapping.

    Raises `OptionError` for a filter that is malformed, empty, nested more than 50 levels deep or too large.
    """
    if isinstance(where, str):
        return parse_where(where)
    if not isinstance(where, Mapping):
        raise OptionError(f"where is a {type(where).__name__}; expected an expression or a mapping.")
    condition = _of_mapping(where, DEEPEST)
    check_size(condition)
    return condition


def _of_mapping(where: Mapping[str, Any], levels: int) -> Condition:
    if not where:
        raise OptionError("the filter has an empty condition. Leave it out to find all documents.")
    if not levels:
        raise OptionError(f"the filter is nested more than {DEEPEST} levels deep. Write it with fewer conditions.")
    return joined(And, [_of_item(name, value, levels) for name, value in where.items()])


def _of_item(name: object, value: Any, levels: int) -> Condition:
    if not isinstance(name, str):
        raise OptionError(f"the filter names the column {name!r}; expected the name as a string.")
    if name == "not":
        return Not(_of_mapping(_mapping_of(name, value), levels - 1))
    if name in ("and", "or"):
        if not isinstance(value, list | tuple) or not value:
            raise OptionError(f'{name!r} of the filter is {value!r:.200}; expected a list such as [{{"year": 2020}}].')
        parts = [_of_mapping(_mapping_of(name, part), levels - 1) for part in value]
        return joined(And if name == "and" else Or, parts)
    if value is None:
        return Missing(name)
    if isinstance(value, list | tuple):
        return _in(name, value)
    if isinstance(value, Mapping):
        if not value:
            raise OptionError(f'the filter of {name!r} is empty; expected a comparison such as {{">=": 2020}}.')
        return joined(And, [_of_comparison(name, *comparison) for comparison in value.items()])
    return Compare(name, "=", _value(name, value))


def _mapping_of(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise OptionError(f'{name!r} of the filter holds {value!r:.200}; expected conditions such as {{"year": 2020}}.')
    return value


def _of_comparison(column: str, operator: object, value: Any) -> Condition:
    if operator in COMPARISONS:
        return Compare(column, str(operator), _value(column, value))
    if operator == "!=":
        return Not(Compare(column, "=", _value(column, value)))
    if operator in ("in", "not in"):
        found = _in(column, value)
        return found if operator == "in" else Not(found)
    if operator in ("missing", "exists"):
        if not isinstance(value, bool):
            raise OptionError(f"{operator!r} of the column {column!r} is {value!r:.200}; expected True or False.")
        return Missing(column) if value == (operator == "missing") else Not(Missing(column))
    known = (*COMPARISONS, "!=", "in", "not in", "missing", "exists")
    raise OptionError(f"{operator!r:.200} compares the column {column!r} ({nearest(str(operator)[:200], known)}).")


def _in(column: str, values: Any) -> Condition:
    if not isinstance(values, list | tuple | set | frozenset) or not values:
        raise OptionError(f"'in' of the column {column!r} is {values!r:.200}; expected a list of one value or more.")
    return In(column, tuple(_value(column, value) for value in values))


def _value(column: str, value: Any) -> Value:
    # Values of numpy and other libraries have a method `item` that returns the Python number.
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"the column {column!r} is compared with {value}. Use 'missing' to find missing numbers.")
    if not isinstance(value, str | int | float | bool):
        raise OptionError(
            f"the column {column!r} is compared with a {type(value).__name__}; expected a text, a number or a boolean."
        )
    return value
