"""Conditions about typed columns find the rows that plain Python finds, in SQLite."""

import json
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings

from leafkit.engines.columns import TEXTS, Language, by_column, expression, parts_of
from leafkit.engines.lance import SQL
from leafkit.engines.milvus import EXPRESSIONS
from leafkit.filters.conditions import Compare, In
from leafkit.filters.exact import reduced
from leafkit.filters.schema import Schema
from leafkit.index.push import fields_of
from tests.fixtures.filters import PORTABLE, comparisons, conditions, drawn_payloads, holds

TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "word": "text", "texts": "texts"}
SCHEMA = Schema(TYPES)
PAYLOADS = drawn_payloads(150, PORTABLE)
SQLITE = Language(
    present=lambda column: f"{column} IS NOT NULL",
    literal=SQL.literal,
    contains=lambda column, texts: f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN ({', '.join(texts)}))",
    equal="=",
)


@pytest.fixture(scope="module")
def table():
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    parts = parts_of(SCHEMA)
    connection.execute(f"CREATE TABLE docs (row, {', '.join(parts)})")
    columns = by_column(parts, [fields_of(payload, SCHEMA) for payload in PAYLOADS])
    lists = {name: [one and json.dumps(one) for one in columns[name]] for name in parts if parts[name] == TEXTS}
    rows = zip(range(len(PAYLOADS)), *{**columns, **lists}.values(), strict=True)
    connection.executemany(f"INSERT INTO docs VALUES (?{', ?' * len(parts)})", rows)
    return connection


def check(table, condition):
    where = reduced(condition, SCHEMA)
    expected = [row for row, payload in enumerate(PAYLOADS) if holds(condition, payload)]
    if isinstance(where, bool):
        assert expected == (list(range(len(PAYLOADS))) if where else [])
        return
    text = expression(where, SCHEMA, SQLITE)
    assert [row for (row,) in table.execute(f"SELECT row FROM docs WHERE {text} ORDER BY row")] == expected, text


def test_each_comparison_finds_the_rows_that_python_finds(table):
    for condition in comparisons():
        check(table, condition)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(condition=conditions())
def test_combinations_find_the_rows_that_python_finds(table, condition):
    check(table, condition)


def test_the_type_of_a_column_may_widen_without_a_row_being_written():
    """A whole number and a text are stored the same for a column of numbers and of lists."""
    wider = Schema({**TYPES, "integer": "number", "word": "texts"})
    assert parts_of(wider) == parts_of(SCHEMA)


def test_names_and_values_of_strangers_stay_data():
    odd = Schema({"a' OR 1=1; --": "text"})
    condition = Compare("a' OR 1=1; --", "=", 'it\'s \\ "x"\n')
    assert "OR" not in expression(condition, odd, SQL)
    assert expression(condition, odd, SQL).endswith("['it''s \\ \"x\"\n']))")
    assert expression(condition, odd, EXPRESSIONS).endswith('["it\'s \\\\ \\"x\\"\\n"]))')
    several = In("number", (1.0, -0.0))
    assert expression(several, SCHEMA, SQL).endswith(" IN (1.0, 0.0))")
    assert expression(several, SCHEMA, EXPRESSIONS).endswith(" IN [1.0, 0.0])")
