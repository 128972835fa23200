import pytest

from leafkit.cli.evaluate import spread


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("evaluate --data a b --teacher t", "evaluate --data a --data b --teacher t"),
        ("evaluate --data a --data b", "evaluate --data a --data b"),
        ("-q evaluate --mteb x y z --json", "-q evaluate --mteb x --mteb y --mteb z --json"),
        ("evaluate --data a --json", "evaluate --data a --json"),
        ("index a b --student s --out o", "index a b --student s --out o"),
        ("evaluate --dims 3,4 --student s t", "evaluate --dims 3,4 --student s --student t"),
    ],
)
def test_options_of_evaluate_take_several_values_in_a_row(typed, read):
    assert spread(typed.split()) == read.split()
