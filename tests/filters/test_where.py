"""The language of filters: both forms mean the same, and an invalid filter is explained at its position."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or
from leafkit.filters.where import read_where

NAMES = ["year", "category", "a.b", "two words", "not", "Größe", 'quo"te', "line\nbreak", "\\", "\u2028", ""]
VALUES = [
    "linux",
    "",
    'say "hi"',
    "it's",
    "back\\slash",
    "\\n",
    "tab\tline\n\r",
    "日本語",
    "\ud800",
    "\0",
    "and",
    0,
    -3,
    2.5,
]
VALUES += [1e-300, -1e300, 10**25, True, False]


def drawn(source: random.Random, levels: int = 3) -> Condition:
    """Return a random condition."""
    kind = source.randrange(7 if levels else 4)
    name = source.choice(NAMES)
    if kind == 0:
        return Compare(name, source.choice(["=", "<", "<=", ">", ">="]), source.choice(VALUES))
    if kind == 1:
        return In(name, tuple(source.choices(VALUES, k=source.randint(1, 3))))
    if kind == 2:
        return Missing(name)
    if kind == 3 or kind == 4:
        return Not(drawn(source, levels - 1)) if levels else Compare(name, "=", "x")
    return (And if kind == 5 else Or)(tuple(drawn(source, levels - 1) for _ in range(source.randint(2, 3))))


def mapping_of(condition: Condition) -> dict[str, Any]:
    """Return the mapping that means ``condition``."""
    if isinstance(condition, Compare):
        return {condition.column: {condition.operator: condition.value}}
    if isinstance(condition, In):
        return {condition.column: {"in": list(condition.values)}}
    if isinstance(condition, Missing):
        return {condition.column: {"missing": True}}
    if isinstance(condition, Not):
        return {"not": mapping_of(condition.part)}
    return {"and" if isinstance(condition, And) else "or": [mapping_of(part) for part in condition.parts]}


def test_a_printed_condition_and_its_mapping_are_read_as_the_same_condition() -> None:
    source = random.Random(0)
    for _ in range(300):
        condition = drawn(source)
        assert read_where(str(condition)) == condition
        if '"not"' not in str(condition):  # in a mapping this column's name means the word
            assert read_where(mapping_of(condition)) == condition


@pytest.mark.parametrize(
    ("expression", "mapping"),
    [
        ('category = "linux" and year >= 2020', {"category": "linux", "year": {">=": 2020}}),
        ("year >= 2020 AND year<2024", {"year": {">=": 2020, "<": 2024}}),
        ("tag in ('old', 'draft')", {"tag": ["old", "draft"]}),
        ("tag not in ('old')", {"tag": {"not in": ("old",)}}),
        ("not tag in ('old')", {"tag": {"not in": ["old"]}}),
        ("year missing", {"year": None}),
        ("year exists", {"year": {"missing": False}}),
        ("not year missing", {"year": {"exists": True}}),
        ("old == false", {"old": {"=": False}}),
        ("old != true", {"old": {"!=": True}}),
        ("a = 1 or (b = 2 and c = 3)", {"or": [{"a": 1}, {"b": 2, "c": 3}]}),
        ("a = 1 or b = 2 and c = 3", {"or": [{"a": 1}, {"b": 2, "c": 3}]}),
        ("not (a = 1 and b = 2)", {"not": {"a": 1, "b": 2}}),
        ("a=-1.5e3", {"a": numpy.float64(-1500)}),
        ("a = 7", {"a": numpy.int64(7)}),
    ],
)
def test_an_expression_and_a_mapping_mean_the_same(expression: str, mapping: dict[str, Any]) -> None:
    assert read_where(expression) == read_where(mapping)


def test_and_binds_tighter_than_or_and_not_tighter_than_and() -> None:
    a, b, c = (Compare(name, "=", 1) for name in "abc")
    assert read_where("a = 1 or not b = 1 and c = 1") == Or((a, And((Not(b), c))))


@pytest.mark.parametrize(
    ("expression", "position", "message"),
    [
        ("category = linux", 12, 'write "linux" if it is a text'),
        ("category = ", 12, "got the end; expected a text in quotes, a number, true or false"),
        ("category linux", 10, "'missing' or 'exists' after the column 'category'"),
        ('category = "linux', 12, "a text with a quote on either side"),
        ('(a = 1 or b = "x"', 18, "'and', 'or' or ')'"),
        ("a = 1)", 6, "got ')'; expected 'and', 'or' or the end"),
        ("a = 1 b = 2", 7, "'and', 'or' or the end"),
        ("a in 3", 6, "values after 'in'"),
        ("a in (1; 2)", 8, "',' or ')'"),
        ("a not = 1", 7, "'in' after 'not'"),
        ("and = 1", 1, "the name of a column"),
        ("", 1, "the name of a column"),
        ("   ", 4, "the name of a column"),
        ("a = 1e999", 5, "at most 1.8e308"),
        (f"a = {'9' * 5000}", 5, "at most 1.8e308"),
        ("a = 0x10", 5, "a number, true or false"),
        ("__import__('os').system('x')", 11, "after the column '__import__'"),
        ("not " * 60 + "a = 1", 201, "at most 50 levels deep"),
        ("(" * 90_000, 51, "at most 50 levels deep"),
    ],
)
def test_an_error_shows_the_position(expression: str, position: int, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)) as error:
        read_where(expression)
    first, line, caret = str(error.value).split("\n")
    assert f"wrong at character {position}:" in first
    assert line[len(caret) - 1 :][:10] == expression[position - 1 :][:10].replace("\n", " ")
    assert len(line) < 130


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "empty condition"),
        ({"a": {}}, "filter of 'a' is empty"),
        ({"and": []}, "'and' of the filter is []"),
        ({"or": {"a": 1}}, "expected a list"),
        ({"not": "a"}, "'not' of the filter holds 'a'"),
        ({"a": []}, "list of one value or more"),
        ({"a": {"in": "abc"}}, "list of one value or more"),
        ({"a": {"≥": 1}}, "compares the column 'a' (expected one of"),
        ({"a": {"gte": 1}}, "compares the column 'a'"),
        ({"a": {"missing": 1}}, "expected True or False"),
        ({"a": float("nan")}, "compared with nan"),
        ({"a": {"<": float("inf")}}, "compared with inf"),
        ({"a": {"=": None}}, "compared with a NoneType"),
        ({"a": b"x"}, "compared with a bytes"),
        ({1: 2}, "names the column 1"),
        (7, "where is a int"),
        ({"a": list(range(20_000))}, "20000 values"),
    ],
)
def test_an_invalid_mapping_says_what_was_expected(mapping: Any, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        read_where(mapping)


def test_a_mapping_may_not_be_nested_deeply() -> None:
    where: dict[str, Any] = {"a": 1}
    for _ in range(49):
        where = {"not": where}
    read_where(where)
    for _ in range(100_000):
        where = {"not": where}
    with pytest.raises(OptionError, match="more than 50 levels"):
        read_where(where)


def test_a_filter_has_a_limited_size() -> None:
    with pytest.raises(OptionError, match=r"1,048,576 characters; expected at most 100,000"):
        read_where("a" * (1 << 20))
    with pytest.raises(OptionError, match=r"2000 comparisons .* allow=IDS"):
        read_where(" or ".join(["a = 1"] * 2000))
