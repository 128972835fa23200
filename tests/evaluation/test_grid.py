from __future__ import annotations

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.grid import Cell, CellFinder, full_cell, grid, truncated
from leafkit.index.fill import search_in_memory
from leafkit.space import Space


def unit(rows, dim, seed):
    vectors = numpy.random.default_rng(seed).normal(size=(rows, dim)).astype(numpy.float32)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


DOCUMENTS, QUERIES = unit(2000, 64, 0), unit(10, 64, 1)
SPACE = Space(teacher="t", weights="name:t", dim=64, normalised=True, pooling="mean", max_length=None)


def test_without_options_the_grid_is_the_full_cell():
    assert grid(SPACE, None, None) == [full_cell(SPACE)] == [Cell(dim=64, precision="float32")]


def test_the_grid_is_every_pair_once():
    cells = grid(SPACE, [64, 8, 64], ["float32", "binary+none"])
    assert [(cell.dim, cell.precision) for cell in cells] == [
        (64, "float32"),
        (64, "binary+none"),
        (8, "float32"),
        (8, "binary+none"),
    ]


@pytest.mark.parametrize("dim", [0, -3, 65])
def test_a_dim_beyond_the_space_is_refused(dim):
    with pytest.raises(OptionError, match="wanted 1 to 64"):
        grid(SPACE, [dim], None)


@pytest.mark.parametrize("precision", ["int2", "int8+int4", "float32+", ""])
def test_an_unknown_precision_lists_those_there_are(precision):
    with pytest.raises(OptionError, match="float32, float16, int8, int4, binary"):
        grid(SPACE, None, [precision])


@pytest.mark.parametrize("dim", [64, 16])
def test_the_float32_cell_is_the_search_by_brute_force(dim):
    found = CellFinder(DOCUMENTS, Cell(dim=dim, precision="float32")).nearest(QUERIES, 50)
    scores = truncated(QUERIES, dim) @ truncated(DOCUMENTS, dim).T
    numpy.testing.assert_array_equal(found.rows, numpy.argsort(-scores, axis=1)[:, :50])
    numpy.testing.assert_allclose(found.scores, -numpy.sort(-scores, axis=1)[:, :50], atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary", "binary+float16", "binary+none"])
def test_the_first_hits_are_those_an_index_gives_when_asked_for_few(precision):
    """A search for a thousand rescores more candidates: its ten best are not what ten hits look like in use."""
    stored, _, rescored = precision.partition("+")
    index = search_in_memory(DOCUMENTS, precision=stored, rescore=rescored or None)
    found = CellFinder(DOCUMENTS, Cell(dim=64, precision=precision)).nearest(QUERIES, 1000)
    numpy.testing.assert_array_equal(found.rows[:, :11], index.search(QUERIES, 11).rows)


@pytest.mark.parametrize("precision", ["float32", "int8", "binary", "binary+none"])
def test_every_document_is_found_once_in_the_order_of_its_scores(precision):
    found = CellFinder(DOCUMENTS, Cell(dim=64, precision=precision)).nearest(QUERIES, 1001)
    assert found.rows.shape == (10, 1001)
    assert all(len(set(rows)) == 1001 for rows in found.rows.tolist())
    assert (numpy.diff(found.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary", "binary+none"])
def test_fewer_documents_than_hits_are_all_found(precision):
    found = CellFinder(DOCUMENTS[:5], Cell(dim=64, precision=precision)).nearest(QUERIES, 5)
    assert sorted(found.rows[0]) == [0, 1, 2, 3, 4]


def test_truncation_keeps_unit_length_and_full_width_is_untouched():
    assert truncated(QUERIES, 64) is QUERIES
    numpy.testing.assert_allclose(numpy.linalg.norm(truncated(QUERIES, 5), axis=1), 1, atol=1e-6)
