"""JSON files are read back unchanged; anything wrong with them is one error with file, problem and advice."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import DamageError, InputError, OutputError
from leafkit.files.atomic import write_json
from leafkit.files.json_file import MOST_BYTES, explain_invalid, parse_json, read_json_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(), JSON, max_size=3))
def test_an_object_is_read_back_unchanged(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("json") / "a.json"
    write_json(file, content)
    assert read_json_object(file) == content


def test_a_lone_surrogate_is_read_back_unchanged(tmp_path):
    write_json(tmp_path / "a.json", {"path": "caf\udce9"})
    assert read_json_object(tmp_path / "a.json") == {"path": "caf\udce9"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "Expecting property name"),
        (b"\xff", "codec can't decode"),
        (b"[]", "the JSON is a list, not an object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "nested more than 100 levels"),
        (b'{"a": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"a": "\\ud83', "Invalid"),
        (b" " * 300, "larger than 200 bytes"),
        (b"{}", "the field 'name' is missing"),
        (b'{"name": 3}', "'int' object has no attribute 'upper'"),
    ],
)
def test_an_invalid_file_raises_with_expectation_problem_and_advice(tmp_path, content, problem):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with (
        pytest.raises(InputError) as caught,
        explain_invalid(file, expected="a person", advice="Write it again.", error_type=InputError),
    ):
        read_json_object(file, most_bytes=200 if content.isspace() else MOST_BYTES)["name"].upper()
    assert str(caught.value).startswith(f"{file} is not a person (")
    assert problem in str(caught.value)
    assert str(caught.value).endswith("). Write it again.")


def explain(file):
    return explain_invalid(file, expected="a person", advice="Copy it.")


def test_a_missing_file_and_one_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    with pytest.raises(DamageError, match=r"a\.json is missing\. Copy it\.$"), explain(file):
        read_json_object(file)
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError()))
    with pytest.raises(InputError, match=r"cannot read .*a\.json: permission denied\. Give"), explain(file):
        read_json_object(file)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_a_hundred_levels_are_read(start, end):
    parse_json(start * 99 + "[1]" + end * 99)
    with pytest.raises(ValueError, match="more than 100 levels"):
        parse_json(start * 100 + "[1]" + end * 100)


def test_errors_of_leafkit_and_bugs_pass_through():
    with pytest.raises(OutputError, match=r"^full$"), explain_invalid("a", expected="b", advice="c"):
        raise OutputError("full")
    with pytest.raises(ZeroDivisionError), explain_invalid("a", expected="b", advice="c"):
        _ = 1 / 0
    message = r"^a is not b \(the field 'x' is missing\)\. c$"
    with pytest.raises(DamageError, match=message), explain_invalid("a", expected="b", advice="c"):
        raise KeyError("x")
