import pytest

from leafkit.cli.many_values import repeat_options
from leafkit.errors import OptionError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("evaluate --data a b --teacher t", "evaluate --data a --data b --teacher t"),
        ("evaluate --data a --data b", "evaluate --data a --data b"),
        ("-q evaluate --mteb x y z --json", "-q evaluate --mteb x --mteb y --mteb z --json"),
        ("evaluate --data a --json", "evaluate --data a --json"),
        ("evaluate --dims 3,4 --student s t", "evaluate --dims 3,4 --student s --student t"),
    ],
)
def test_options_of_evaluate_take_several_values_in_a_row(typed, read):
    assert repeat_options(typed.split()) == read.split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("evaluate --mteb --teacher t", "--mteb is followed by --teacher; expected one or more values"),
        ("-q evaluate --data a --student --json", "--student is followed by --json; expected one or more values"),
    ],
)
def test_an_option_without_its_values_is_named(typed, said):
    with pytest.raises(OptionError, match=f"^{said}"):
        repeat_options(typed.split())


def test_other_commands_parse_their_arguments_unchanged(run):
    """Not even a document called evaluate changes how another command is parsed."""
    code, _, err = run("index", "a.jsonl", "--teacher", "evaluate", "--student", "s", "more.jsonl", "--out", "o")
    assert code == 1
    assert "a.jsonl" in err
