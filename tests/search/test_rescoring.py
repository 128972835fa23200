"""Rescoring vectors: the promised errors of float16 and int8, and files that do not hold what the manifest says."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from leafkit.errors import DamageError
from leafkit.files.open_files import OpenFiles
from leafkit.index.vector_files import write_rescoring_vectors
from leafkit.search.rescoring import decode, encode, read_rescoring_vectors
from leafkit.vectors.cosine import row_cosines, unit_rows


def draw(rows: int = 2_000, dim: int = 384, seed: int = 0) -> numpy.ndarray:
    return unit_rows(numpy.random.default_rng(seed).standard_normal((rows, dim)).astype(numpy.float32))


def cosine_errors(vectors: numpy.ndarray, precision: str) -> numpy.ndarray:
    """Return how much storage changes the cosine of each of ``vectors`` with a query of its own, in float64."""
    queries, stored = draw(len(vectors), vectors.shape[1], seed=1), decode(encode(vectors, precision))
    exact, found = (row_cosines(queries.astype(float), rows.astype(float)) for rows in (vectors, stored))
    return numpy.abs(exact - found)


@pytest.mark.parametrize("dim", [64, 384, 1024])
def test_the_mean_error_of_a_cosine_by_int8_storage_is_at_most_a_440th_of_the_largest_component(dim: int) -> None:
    """Rounding errors are uniform on +-largest / 254, so the root mean square of a cosine's error is largest / 440.

    Truncation instead of rounding would raise the mean error by half.
    """
    vectors = draw(dim=dim)
    promised = numpy.abs(vectors).max(axis=1).mean() / 440
    errors = cosine_errors(vectors, "int8")
    assert errors.mean() <= promised
    assert numpy.sqrt((errors**2).mean()) <= 1.1 * promised


def test_an_int8_row_uses_the_whole_range_and_rounds_to_the_nearest_number() -> None:
    row = numpy.float32([[0.8, -0.4, 0.006, -0.0029]])
    assert encode(row, "int8").tolist() == [[127, -64, 1, 0]]


def test_the_mean_error_of_a_cosine_by_float16_storage_is_below_a_hundred_thousandth() -> None:
    assert cosine_errors(draw(), "float16").mean() < 1e-5
    assert cosine_errors(draw(), "float32").max() == 0


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_rescoring_vectors_read_back_as_they_were_written_in_blocks(
    tmp_path: Path, precision: str, memory_map: bool
) -> None:
    codes = encode(draw(50, 8), precision)
    file = tmp_path / "vectors.npy"
    write_rescoring_vectors(file, [codes[:20], codes[20:]], shape=(50, 8), precision=precision)
    files = OpenFiles(tmp_path, follow_links=False)
    read = read_rescoring_vectors(file, files, shape=(50, 8), precision=precision, memory_map=memory_map)
    numpy.testing.assert_array_equal(read, codes)
    assert isinstance(read, numpy.memmap) == memory_map
    with pytest.raises(DamageError, match=rf"expected {precision} of shape \(49, 8\). Build the index again"):
        read_rescoring_vectors(file, files, shape=(49, 8), precision=precision, memory_map=memory_map)
