import pytest

from leafkit.cli.evaluate import spread
from leafkit.errors import OptionError


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


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("evaluate --mteb --teacher t", "--mteb is followed by --teacher; wanted one or more values"),
        ("-q evaluate --data a --student --json", "--student is followed by --json; wanted one or more values"),
    ],
)
def test_an_option_without_its_values_is_named(typed, said):
    with pytest.raises(OptionError, match=f"^{said}"):
        spread(typed.split())


def test_other_commands_are_left_to_typer():
    assert spread(["index", "--student", "--out"]) == ["index", "--student", "--out"]
