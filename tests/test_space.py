import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import DamageError, SpaceError
from leafkit.space import Space, describe, require_same

SPACE = Space(
    teacher="mini",
    weights="sha256:00",
    dim=384,
    normalised=True,
    pooling="mean",
    max_length=256,
    query_prompt="query: ",
)

OTHER_VALUES = {
    "weights": "sha256:01",
    "dim": 768,
    "normalised": False,
    "pooling": "cls",
    "max_length": 512,
    "query_prompt": "",
    "document_prompt": "passage: ",
    "rotation": "pca:12",
}


def test_the_name_of_a_teacher_is_not_part_of_the_identity():
    renamed = dataclasses.replace(SPACE, teacher="/somewhere/else")
    assert renamed.id == SPACE.id
    require_same(SPACE, renamed, expected_by="index", got_from="student")


@pytest.mark.parametrize(("field", "value"), OTHER_VALUES.items())
def test_every_other_field_is_part_of_the_identity(field, value):
    other = dataclasses.replace(SPACE, **{field: value})
    assert other.id != SPACE.id
    assert SPACE.difference(other) == field
    with pytest.raises(SpaceError, match=f"the student b does not belong .* of the index a: {field} is") as caught:
        require_same(SPACE, other, expected_by="the index a", got_from="the student b")
    assert describe(SPACE) in str(caught.value)
    assert describe(other) in str(caught.value)


def test_the_tests_above_cover_all_fields():
    assert {"teacher", *OTHER_VALUES} == {field.name for field in dataclasses.fields(Space)}


@given(st.text(), st.text(), st.integers(1, 10_000), st.booleans(), st.none() | st.integers(1, 8192))
def test_a_space_is_read_back_from_json(query_prompt, teacher, dim, normalised, max_length):
    space = dataclasses.replace(
        SPACE, query_prompt=query_prompt, teacher=teacher, dim=dim, normalised=normalised, max_length=max_length
    )
    assert Space.from_json(space.to_json()) == space


def test_an_edited_space_raises():
    edited = SPACE.to_json() | {"dim": 64}
    with pytest.raises(DamageError, match=r"manifest\.json records the space id"):
        Space.from_json(edited, where="manifest.json")


def test_a_missing_field_raises_with_its_name():
    short = {k: v for k, v in SPACE.to_json().items() if k != "pooling"}
    with pytest.raises(DamageError, match="the field 'pooling' is missing"):
        Space.from_json(short)


def test_the_prompt_depends_on_the_role():
    assert SPACE.prompt("query") == "query: "
    assert SPACE.prompt("document") == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [("dim", 0), ("dim", 1 << 40), ("dim", 32.0), ("dim", True), ("normalised", 1), ("pooling", None), ("teacher", [])],
)
def test_a_field_of_another_type_raises_with_its_name(field, value):
    with pytest.raises(DamageError, match=rf"m\.json does not describe a vector space \({field} is "):
        Space.from_json(dataclasses.replace(SPACE, **{field: value}).to_json(), where="m.json")
