import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leafkit.errors import VectorError
from leafkit.vectors.check import check_vectors
from leafkit.vectors.cosine import are_unit, unit_rows


def good(rows=5, dim=3):
    return numpy.random.default_rng(0).normal(size=(rows, dim))


def test_valid_vectors_are_returned_as_float32():
    for dtype in (numpy.float16, numpy.float32, numpy.float64):
        vectors = good().astype(dtype)
        checked = check_vectors(vectors, rows=5, dim=3, source="x")
        assert checked.dtype == numpy.float32
        assert numpy.array_equal(checked, vectors.astype(numpy.float32))


def test_no_rows_are_valid_for_no_texts():
    assert check_vectors(numpy.empty((0, 3)), rows=0, dim=3, source="x").shape == (0, 3)


@given(st.integers(0, 4), st.sampled_from([numpy.nan, numpy.inf, -numpy.inf, 1e39]), st.integers(0, 100))
def test_the_first_row_that_is_not_finite_is_named(row, bad, first):
    vectors = good()
    vectors[row:, 1] = bad
    with pytest.raises(VectorError, match=rf"somewhere: row {first + row} contains NaN or infinity \({5 - row} of 5"):
        check_vectors(vectors, rows=5, dim=3, source="somewhere", first=first)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (good(4), "there are 4 vectors for 5 texts"),
        (good(6), "there are 6 vectors for 5 texts"),
        (good(5, 4), "the vectors have the width 4; expected 3"),
        (good()[0], r"shape \(3,\)"),
        (good()[None], r"shape \(1, 5, 3\)"),
        (numpy.concatenate([good(4), numpy.zeros((1, 3))]), "row 4 is all zeros"),
        ([[1.0, 2.0], [1.0]], "expected an array of numbers"),
        ([["a", "b", "c"]] * 5, "expected an array of numbers"),
        (None, r"the array has the shape \(\)"),
    ],
)
def test_invalid_vectors_raise_with_the_problem(vectors, message):
    with pytest.raises(VectorError, match=message):
        check_vectors(vectors, rows=5, dim=3, source="x")


def test_unit_rows_stay_unit_rows_in_float16():
    unit = unit_rows(good(100, 50).astype(numpy.float32))
    assert are_unit(unit)
    assert are_unit(unit.astype(numpy.float16))
    assert not are_unit(1.01 * unit)
