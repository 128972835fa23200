import base64
import json

import numpy
import pytest

from leafkit.errors import InputError, LeafkitError, VectorError
from leafkit.teachers.api.answers import openai_vectors, read_answer, tei_vectors

SHAPE = {"rows": 2, "dim": 3, "source": "the server"}
ROWS = [[1.0, 0.0, -1.0], [0.5, 2.0, 3.0]]


def openai(embeddings, indices=(0, 1)):
    return {"data": [{"index": i, "embedding": e} for i, e in zip(indices, embeddings)]}


def packed(row):
    return base64.b64encode(numpy.array(row, dtype="<f4").tobytes()).decode()


def test_both_shapes_and_base64_give_the_same_vectors():
    assert tei_vectors(ROWS, **SHAPE).tolist() == ROWS
    assert openai_vectors(openai(ROWS), **SHAPE).tolist() == ROWS
    assert openai_vectors(openai(map(packed, ROWS)), **SHAPE).tolist() == ROWS


def test_the_index_decides_the_order_not_the_position():
    assert openai_vectors(openai(ROWS[::-1], (1, 0)), **SHAPE).tolist() == ROWS


@pytest.mark.parametrize("indices", [(0, 0), (0, 2), (-1, 0), (1, 2), (False, True), ("0", "1"), (0.0, 1.0), (0,)])
def test_texts_that_are_missing_or_answered_twice_raise(indices):
    with pytest.raises(InputError, match="expected each of 0 to 1 once"):
        openai_vectors(openai(ROWS, indices), **SHAPE)


@pytest.mark.parametrize(
    "content", [None, [], {}, {"data": 3}, {"data": [1]}, {"data": [{"index": 0}]}, {"data": [{}]}]
)
def test_another_shape_raises(content):
    with pytest.raises(InputError, match=r"another shape|expected each"):
        openai_vectors(content, **SHAPE)


@pytest.mark.parametrize("content", [None, {}, "text", 3])
def test_an_answer_that_is_no_list_raises(content):
    with pytest.raises(InputError, match="expected a list of vectors"):
        tei_vectors(content, **SHAPE)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ROWS[0]], "3 vectors for 2 texts"),
        ([[1.0, 2.0], [1.0, 2.0]], "width 2; expected 3"),
        ([[1.0, 2.0, "3"], ROWS[0]], "something else than numbers"),
        ([[1.0, 2.0, True], ROWS[0]], "something else than numbers"),
        ([[1.0, 2.0, None], ROWS[0]], "something else than numbers"),
        ([[[1.0], 2.0, 3.0], ROWS[0]], "something else than numbers"),
        ([[float("nan"), 2.0, 3.0], ROWS[0]], "row 0 contains NaN or infinity"),
        ([ROWS[0], [1e300, 2.0, 3.0]], "row 1 contains NaN or infinity"),
        ([ROWS[0], [10**400, 2.0, 3.0]], "too large"),
        ([ROWS[0], [0, 0, 0]], "row 1 is all zeros"),
    ],
)
def test_rows_that_are_no_vectors_raise(rows, message):
    with pytest.raises((InputError, VectorError), match=message):
        tei_vectors(rows, **SHAPE)


@pytest.mark.parametrize("text", ["a b", "AAA=", packed([1.0])[:-2], "é"])
def test_what_is_not_base64_of_float32_raises(text):
    with pytest.raises(LeafkitError, match=r"not base64 of float32|width"):
        openai_vectors(openai([text, packed(ROWS[0])]), **SHAPE)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 100_000, b"1" * 5_000, b'{"a": '])
def test_what_is_not_json_raises(body):
    with pytest.raises(InputError, match="something else than JSON"):
        read_answer(body, source="the server")


def test_control_characters_of_an_answer_are_not_repeated():
    with pytest.raises(InputError) as caught:
        read_answer(b"\x1b[2J\x07no", source="the server")
    assert all(letter.isprintable() for letter in str(caught.value))
    assert json.loads("3") == read_answer(b"3", source="the server")
