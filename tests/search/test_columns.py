"""Rows that a filter allows: as the same comparison in Python finds them, for every type of column."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.files.open_files import OpenFiles
from leafkit.filters.conditions import And, Compare, Condition, In, Missing, Not, Or
from leafkit.filters.where import read_where
from leafkit.index.columns import write_columns
from leafkit.search.columns import Columns
from tests.fixtures.filters import DRAWN, OPERATORS, WANTED, drawn_payloads, holds


def opened(path: Path, payloads: list[dict[str, Any]], **options: bool) -> Columns:
    """Write the columns of ``payloads`` and open them."""
    write_columns(path, payloads)
    with OpenFiles(path.parent, follow_links=False) as files:
        return Columns(path, files, rows=len(payloads), **options)


@pytest.fixture(scope="module")
def payloads() -> list[dict[str, Any]]:
    """Three hundred payloads with every type and missing values."""
    return drawn_payloads(300)


@pytest.fixture(scope="module")
def columns(payloads: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Columns:
    """The columns of the payloads."""
    return opened(tmp_path_factory.mktemp("columns") / "columns.npy", payloads)


def check(columns: Columns, payloads: list[dict[str, Any]], condition: Condition) -> None:
    expected = [row for row, payload in enumerate(payloads) if holds(condition, payload)]
    assert columns.rows(condition).tolist() == expected, str(condition)


@pytest.mark.parametrize("kind", DRAWN)
def test_each_comparison_finds_the_rows_that_python_finds(
    columns: Columns, payloads: list[dict[str, Any]], kind: str
) -> None:
    assert columns.schema.types[kind] == {"word": "text"}.get(kind, kind)
    for sign in ["="] if kind == "boolean" else OPERATORS:
        for value in WANTED[kind]:
            check(columns, payloads, Compare(kind, sign, value))
    check(columns, payloads, In(kind, tuple(WANTED[kind])))
    check(columns, payloads, In(kind, tuple(WANTED[kind][:1])))
    check(columns, payloads, Missing(kind))


def test_combinations_find_the_rows_that_python_finds(columns: Columns, payloads: list[dict[str, Any]]) -> None:
    source = random.Random(1)

    def drawn(levels: int) -> Condition:
        if levels and source.random() < 0.8:
            parts = (drawn(levels - 1), drawn(levels - 1), drawn(levels - 1))
            return source.choice([Not(parts[0]), And(parts), Or(parts[:2])])
        kind = source.choice(list(WANTED))
        sign = source.choice(["="] if kind == "boolean" else list(OPERATORS))
        return Compare(kind, sign, source.choice(WANTED[kind]))

    for _ in range(100):
        check(columns, payloads, drawn(3))


def test_not_equal_also_finds_documents_without_a_value(columns: Columns, payloads: list[dict[str, Any]]) -> None:
    both = columns.rows(read_where('word != "a" and word exists'))
    assert set(columns.rows(read_where('word != "a"'))) - set(both) == set(columns.rows(read_where("word missing")))


def test_columns_read_into_memory_find_the_same(tmp_path: Path, payloads: list[dict[str, Any]]) -> None:
    check(opened(tmp_path / "c.npy", payloads, memory_map=False), payloads, read_where('texts > "a" or integer > 3'))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ('integer = "7"', "'integer' holds integers, but the filter compares it with '7'"),
        ("number > true", "'number' holds numbers, but the filter compares it with True"),
        ("word = 7", "'word' holds text, but the filter compares it with 7. Compare it with a text in quotes."),
        ("texts in ('a', 7)", "'texts' holds lists of text, but"),
        ("boolean = 1", "'boolean' holds true or false, but"),
        ("boolean >= true", "which >= cannot compare"),
        ("integr = 1", r"no column 'integr' \(did you mean 'integer'"),
    ],
)
def test_a_filter_that_does_not_fit_the_columns_says_why(columns: Columns, where: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        columns.rows(read_where(where))


def test_no_documents_and_no_columns(tmp_path: Path) -> None:
    columns = opened(tmp_path / "columns.npy", [])
    assert columns.schema.types == {}
    with pytest.raises(OptionError, match="no column to filter by"):
        columns.rows(read_where("year = 1"))
    assert numpy.array_equal(opened(tmp_path / "one.npy", [{"year": 1}]).rows(read_where("year = 1")), [0])
