"""Filters as SQL over the column ``fields`` (jsonb): constant text with placeholders, and the parameters for them."""

from __future__ import annotations

import json
from typing import Any

from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or
from leafkit.filters.schema import Schema

# The value of a column, whose name is the parameter.
_VALUE = "fields -> %s"
_ELEMENTS = (
    "CASE jsonb_typeof(fields -> %s) WHEN 'array' THEN fields -> %s WHEN 'string' THEN jsonb_build_array(fields -> %s) "
    "ELSE '[]'::jsonb END"
)
_OPERATORS = {operator: operator for operator in ("=", "<", "<=", ">", ">=")}


def to_sql(condition: Condition, schema: Schema) -> tuple[str, list[Any]]:
    """Return a ``condition`` that `leafkit.filters.exact.reduced` returned as an SQL expression with its parameters.

    The expression is true or false, and never null. It contains no name and no value: these are parameters.
    """
    if isinstance(condition, Not):
        text, parameters = to_sql(condition.part, schema)
        return f"NOT ({text})", parameters
    if isinstance(condition, And | Or):
        parts = [to_sql(part, schema) for part in condition.parts]
        word = " AND " if isinstance(condition, And) else " OR "
        return word.join(f"({text})" for text, _ in parts), [value for _, values in parts for value in values]
    column = condition.column
    if isinstance(condition, Missing):
        return "NOT (fields ? %s)", [column]
    if isinstance(condition, In) or condition.operator == "=":
        values = list(condition.values) if isinstance(condition, In) else [condition.value]
        if schema.types[column] in ("text", "texts"):
            return f"COALESCE({_VALUE} ?| %s::text[], FALSE)", [column, values]
        return f"COALESCE({_VALUE} = ANY(%s::text[]::jsonb[]), FALSE)", [column, list(map(json.dumps, values))]
    return _ordered(condition, schema.types[column])


def _ordered(condition: Compare, kind: str) -> tuple[str, list[Any]]:
    column, operator, value = condition.column, _OPERATORS[condition.operator], condition.value
    if kind == "texts":
        # The collation "C" orders UTF-8 by code point.
        text = f'EXISTS (SELECT FROM jsonb_array_elements_text({_ELEMENTS}) AS e (t) WHERE t COLLATE "C" {operator} %s)'
        return text, [column, column, column, value]
    if kind == "text":
        text = f"jsonb_typeof({_VALUE}) = 'string' AND (fields ->> %s) COLLATE \"C\" {operator} %s"
        return f"COALESCE({text}, FALSE)", [column, column, value]
    text = f"jsonb_typeof({_VALUE}) = 'number' AND {_VALUE} {operator} %s::jsonb"
    return f"COALESCE({text}, FALSE)", [column, column, json.dumps(value)]
