"""A reduced filter means what the filter means, and holds only plain values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given

from leafkit.errors import OptionError
from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or
from leafkit.filters.exact import LEAST, MOST, NO_TEXT, reduced
from leafkit.filters.schema import Schema
from leafkit.filters.where import read_where
from tests.fixtures.filters import PORTABLE, comparisons, conditions, drawn_payloads, holds

SCHEMA = Schema(
    types={"integer": "integer", "number": "number", "boolean": "boolean", "word": "text", "texts": "texts"}
)
PAYLOADS = drawn_payloads(200, PORTABLE)


def check(condition: Condition) -> None:
    found = reduced(condition, SCHEMA)
    for payload in PAYLOADS:
        means = found if isinstance(found, bool) else holds(found, payload)
        assert means == holds(condition, payload), f"{condition!s} became {found!s} for {payload}"


@pytest.mark.parametrize("column", SCHEMA.types)
def test_each_comparison_keeps_its_meaning(column: str) -> None:
    for condition in comparisons():
        if condition.column == column:
            check(condition)


@given(conditions())
def test_combinations_keep_their_meaning(condition: Condition) -> None:
    check(condition)


@given(conditions())
def test_what_is_left_has_values_of_the_types_of_the_columns(condition: Condition) -> None:
    left = [reduced(condition, SCHEMA)]
    while left:
        part = left.pop()
        if isinstance(part, Not):
            left.append(part.part)
        elif isinstance(part, And | Or):
            assert len(part.parts) > 1
            left.extend(part.parts)
        elif isinstance(part, Compare | In):
            for value in part.values if isinstance(part, In) else [part.value]:
                assert fits(SCHEMA.types[part.column], value), part
        else:
            assert isinstance(part, bool | Missing)


def fits(kind: str, value: object) -> bool:
    if kind in ("text", "texts"):
        return isinstance(value, str) and not NO_TEXT.search(value)
    if kind == "integer":
        return type(value) is int and LEAST <= value <= MOST
    return type(value) is bool if kind == "boolean" else type(value) is float and math.isfinite(value)


def test_a_filter_that_no_document_or_every_document_fulfils_is_a_boolean() -> None:
    assert reduced(read_where("integer = 2.5 or integer > 1e30"), SCHEMA) is False
    assert reduced(read_where("not (integer = 2.5 and texts = 'a')"), SCHEMA) is True


def test_a_column_left_out_for_an_engine_says_why() -> None:
    schema = SCHEMA.without({"number": "holds infinite numbers"})
    assert Schema.from_json(schema.to_json()) == schema
    with pytest.raises(OptionError, match="'number' cannot be filtered: it holds infinite numbers"):
        reduced(read_where("number > 2"), schema)
