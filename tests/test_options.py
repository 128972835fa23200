"""One field is one option: range checks, keyword arguments, and errors with the nearest name."""

import dataclasses
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import leafkit
from leafkit.errors import OptionError
from leafkit.evaluation.compare.options import ComparisonOptions
from leafkit.evaluation.options import EvaluationOptions
from leafkit.files.options import OutputOptions
from leafkit.index.options import BuildOptions, UpdateOptions
from leafkit.methods.options import MethodOptions
from leafkit.onnx.options import ExportOptions
from leafkit.options import Option, Options, all_fields, fields_of, options_of, takes, without
from leafkit.teachers.options import EmbedOptions, TeacherOptions
from leafkit.texts.options import TextOptions
from leafkit.training.recipe import DistillArguments, Recipe, RunOptions
from leafkit.training.recipe_file import DISTILL_OPTIONS

ALL = [BuildOptions, ComparisonOptions, DistillArguments, EmbedOptions, EvaluationOptions, ExportOptions, MethodOptions]
ALL += [OutputOptions, Recipe, RunOptions, TeacherOptions, TextOptions, UpdateOptions]


class Thing:
    """An object that Python may pass instead of text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made(Options):
    """Options of every kind."""

    panel: ClassVar[str] = "Made"

    share: Annotated[float, Option("A share.", at_least=0, at_most=1)] = 0.5
    rate: Annotated[float, Option("A rate.", above=0)] = 1.0
    count: Annotated[int | None, Option("A count.", at_least=1)] = None
    kind: Annotated[Literal["even", "odd"], Option("A kind.")] = "even"
    place: Annotated[str | Path | None, Option("A place.")] = None
    loud: Annotated[bool, Option("A switch.")] = False
    things: Annotated[Sequence[str | Thing] | None, Option("Things.")] = None
    thing: Annotated[str | Thing | None, Option("A thing.")] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Other(Options):
    """More options."""

    panel: ClassVar[str] = "Other"

    colour: Annotated[str, Option("A colour.", choices=("red", "green"))] = "red"


@pytest.mark.parametrize("group", ALL)
def test_the_defaults_are_inside_their_ranges_and_every_option_is_explained(group):
    made = group()
    assert made.given() == set()
    for field in fields_of(group).values():
        assert field.option.help[0].isupper() or field.option.help.startswith(("adamw",)), field.name
        assert field.option.help.endswith("."), field.name
        assert field.default is not None or field.option.none or group is DistillArguments, field.name


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_accepted_if_and_only_if_it_lies_in_the_range(value):
    inside = {"share": 0 <= value <= 1, "rate": value > 0 and math.isfinite(value)}
    for name, fits in inside.items():
        if fits:
            assert getattr(Made(**{name: value}), name) == value
        else:
            with pytest.raises(OptionError, match=f"{name} is .*; expected a number"):
                Made(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": "a"}, "share is 'a'; expected a number of at least 0 and at most 1"),
        ({"share": True}, "share is True; expected a number"),
        ({"count": 1.5}, "count is 1.5; expected a whole number of at least 1"),
        ({"count": 0}, "count is 0; expected a whole number of at least 1"),
        ({"kind": "evn"}, "kind is 'evn'; did you mean 'even'"),
        ({"loud": 1}, "loud is 1; expected true or false"),
        ({"things": []}, r"things is \[\]; expected a list of strings"),
        ({"things": [3]}, r"things is \[3\]; expected a list of strings"),
        ({"thing": 3}, "thing is 3; expected a string"),
        ({"place": ["a"]}, r"place is \['a'\]; expected a string"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(options, message):
    with pytest.raises(OptionError, match=message):
        Made(**options)


def test_paths_and_objects_are_accepted_where_the_field_says_so():
    thing = Thing()
    assert Made(place="a").place == Path("a")
    made = Made(place=Path("a"), things=["a", thing, Path("b")], thing=thing, share=1)
    assert made.given() == {"place", "things", "thing", "share"}


@takes(Made, Other)
def paint(what, *, twice=False, **options):
    """Paint something."""
    return what, twice, options_of(Made, options), options_of(Other, options), without(Made, options)


def test_a_function_takes_every_field_as_a_keyword():
    what, twice, made, other, rest = paint("wall", twice=True, share=1, colour="green")
    assert (what, twice, made.share, other.colour, rest) == ("wall", True, 1, "green", {"colour": "green"})
    shown = inspect.signature(paint).parameters
    assert list(shown) == ["what", "twice", *all_fields([Made, Other])]
    assert shown["rate"].default == 1.0
    assert "colour: A colour." in paint.__doc__


def test_an_unknown_keyword_is_refused_with_the_nearest_name():
    with pytest.raises(OptionError, match="paint has no option 'color'; did you mean 'colour'"):
        paint("wall", color="red")
    with pytest.raises(OptionError, match="distill has no option 'learning_rat'; did you mean 'learning_rate'"):
        leafkit.distill("texts", "teacher", "student", "out", learning_rat=1)


def test_no_option_of_distill_is_written_twice():
    fields = [field for group in DISTILL_OPTIONS for field in fields_of(group)]
    assert len(fields) == len(set(fields))
    with pytest.raises(TypeError, match="the option share is written twice"):
        all_fields([Made, Made])
