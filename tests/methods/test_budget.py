"""Budgets as users write them."""

import pytest

from leafkit.errors import OptionError
from leafkit.methods.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2M params, 1 ms", Budget(parameters=2_000_000, milliseconds=1.0)),
        ("0.5 ms", Budget(milliseconds=0.5)),
        ("300k params", Budget(parameters=300_000)),
        ("1500 params,2ms", Budget(parameters=1500, milliseconds=2.0)),
    ],
)
def test_a_budget_is_parsed(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "2M", "cheap", "2M ms", "1.2.3 ms", ". ms", "0 ms", "1 ms, 2 ms", "-1 ms"])
def test_invalid_budgets_are_refused(text):
    with pytest.raises(OptionError, match=r"in budget|budget .*(twice|bound of 0)"):
        parse_budget(text)


def test_a_budget_is_printed_in_words():
    assert str(parse_budget("2M params, 1 ms")) == "2,000,000 parameters and 1 ms"
    assert str(parse_budget("0.5 ms")) == "0.5 ms"
