"""Cosines and prefixes, against float64."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leafkit.errors import OptionError, VectorError
from leafkit.search.rescoring import decode, encode
from leafkit.vectors.cosine import check_dim, cosines, unit_prefix

ROWS = arrays(
    numpy.float32, st.tuples(st.integers(1, 6), st.integers(1, 40)), elements=st.floats(-1e6, 1e6, width=32)
).filter(lambda rows: bool((numpy.abs(rows).max(axis=1) > 1e-6).all()))


@given(ROWS)
def test_a_unit_prefix_has_length_one_and_the_same_direction(rows: numpy.ndarray) -> None:
    unit = unit_prefix(rows, rows.shape[1], source="rows")
    numpy.testing.assert_allclose(numpy.linalg.norm(unit.astype(numpy.float64), axis=1), 1, atol=1e-6)
    numpy.testing.assert_allclose(unit, unit_prefix(unit, unit.shape[1], source="rows"), atol=2e-7)


@given(ROWS, st.floats(1e-3, 1e3))
def test_a_cosine_does_not_depend_on_the_length_of_the_row(rows: numpy.ndarray, scale: float) -> None:
    unit = unit_prefix(rows, rows.shape[1], source="rows")
    scaled = (unit * scale).astype(numpy.float32)
    numpy.testing.assert_allclose(cosines(unit[0], scaled), cosines(unit[0], unit), atol=1e-6)
    assert cosines(unit[0], scaled)[0] == pytest.approx(1, abs=1e-6)


def test_the_cosine_of_a_row_of_zeros_is_zero() -> None:
    assert cosines(numpy.float32([1, 0]), numpy.zeros((1, 2), dtype=numpy.float32)).tolist() == [0]


@given(ROWS)
def test_the_error_of_an_int8_row_is_below_its_documented_bound(rows: numpy.ndarray) -> None:
    unit = unit_prefix(rows, rows.shape[1], source="rows")
    held = decode(encode(unit, "int8"))
    largest = numpy.abs(unit).max(axis=1)
    bound = largest / 254 * numpy.sqrt(unit.shape[1]) + 1e-6
    for query in unit:
        # Scaling the held row to length one moves it by no more than rounding did.
        assert (numpy.abs(cosines(query, held) - cosines(query, unit)) <= 2 * bound).all()


def test_a_dim_outside_the_space_raises() -> None:
    assert check_dim(None, 8) == 8
    for dim in (0, -1, 9):
        with pytest.raises(OptionError, match="expected 1 to 8, the width"):
            check_dim(dim, 8)


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, 0.0])
def test_a_row_without_direction_is_named(value: float) -> None:
    rows = numpy.ones((3, 2))
    rows[2] = value
    with pytest.raises(VectorError, match=r"things: row 2 has (only zeros|a component that is not finite)"):
        unit_prefix(rows, 2, source="things")
