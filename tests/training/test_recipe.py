import dataclasses
import inspect
import re

import pytest

from leafkit.errors import OptionError
from leafkit.training.distill import distill
from leafkit.training.recipe import Recipe


def test_every_field_is_an_argument_of_distill_with_the_same_default():
    arguments = inspect.signature(distill).parameters
    assert all(arguments[field.name].default == field.default for field in dataclasses.fields(Recipe))


def test_every_argument_is_explained():
    for name in inspect.signature(distill).parameters:
        assert re.search(rf"\b{name}\b", distill.__doc__), name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("epochs", float("nan")),
        ("cycles", 0),
        ("learning_rate", 0),
        ("learning_rate", float("inf")),
        ("final_learning_rate", -1e-5),
        ("warmup", 1.5),
        ("weight_decay", -1),
        ("batch_size", 0),
        ("training_length", 0),
        ("head", "zero"),
        ("student_prompt", "two"),
        ("optimiser", "sgd"),
        ("precision", "float16"),
        ("valid_every", 0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(OptionError, match=f"{field} is"):
        Recipe(**{field: value})


def test_auto_becomes_a_precision_that_the_run_can_record():
    assert Recipe().on("cpu").precision in ("bfloat16", "float32")
    assert Recipe(precision="float32").on("cpu").precision == "float32"


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (1, 4), (0.5, 2), (2.25, 9), (0.01, 1)])
def test_epochs_may_be_fractions(epochs, steps):
    assert Recipe(epochs=epochs, batch_size=32).steps(100) == steps
