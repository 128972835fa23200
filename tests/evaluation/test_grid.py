from __future__ import annotations

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.evaluation.grid import Cell, CellFinder, full_cell, grid, truncate
from leafkit.index.fill import search_in_memory
from leafkit.space import Space


def unit(rows, dim, seed):
    vectors = numpy.random.default_rng(seed).normal(size=(rows, dim)).astype(numpy.float32)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


DOCUMENTS, QUERIES = unit(2000, 64, 0), unit(10, 64, 1)
SPACE = Space(teacher="t", weights="name:t", dim=64, normalised=True, pooling="mean", max_length=None)


def test_the_default_grid_is_the_full_cell():
    assert grid(SPACE, None, None) == [full_cell(SPACE)] == [Cell(dim=64, precision="float32")]


def test_the_grid_has_every_pair_once():
    cells = grid(SPACE, [64, 8, 64], ["float32", "binary+none"])
    assert [(cell.dim, cell.precision) for cell in cells] == [
        (64, "float32"),
        (64, "binary+none"),
        (8, "float32"),
        (8, "binary+none"),
    ]


@pytest.mark.parametrize("dim", [0, -3, 65])
def test_a_dim_outside_the_space_is_refused(dim):
    with pytest.raises(OptionError, match=f"dim is {dim}; expected 1 to 64"):
        grid(SPACE, [dim], None)


@pytest.mark.parametrize("precision", ["int2", "int8+int4", "float32+", ""])
def test_an_unknown_precision_is_refused_with_the_known_ones(precision):
    with pytest.raises(OptionError, match=r"unknown precision .*; expected one of float32, float16, int8"):
        grid(SPACE, None, [precision])


@pytest.mark.parametrize("dim", [64, 16])
def test_the_float32_cell_agrees_with_brute_force(dim):
    found = CellFinder(DOCUMENTS, Cell(dim=dim, precision="float32")).nearest(QUERIES, 50)
    scores = truncate(QUERIES, dim) @ truncate(DOCUMENTS, dim).T
    numpy.testing.assert_array_equal(found.rows, numpy.argsort(-scores, axis=1)[:, :50])
    numpy.testing.assert_allclose(found.scores, -numpy.sort(-scores, axis=1)[:, :50], atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary", "binary+float16", "binary+none"])
def test_the_first_hits_are_those_of_an_index_search_for_few_hits(precision):
    """A search for a thousand hits rescores more candidates, so its ten best differ from what users get."""
    stored, _, rescored = precision.partition("+")
    index = search_in_memory(DOCUMENTS, precision=stored, rescore=rescored or None)
    found = CellFinder(DOCUMENTS, Cell(dim=64, precision=precision)).nearest(QUERIES, 1000)
    numpy.testing.assert_array_equal(found.rows[:, :11], index.search(QUERIES, 11).rows)


@pytest.mark.parametrize("precision", ["float32", "int8", "binary", "binary+none"])
def test_hits_are_distinct_and_sorted_by_score(precision):
    found = CellFinder(DOCUMENTS, Cell(dim=64, precision=precision)).nearest(QUERIES, 1001)
    assert found.rows.shape == (10, 1001)
    assert all(len(set(rows)) == 1001 for rows in found.rows.tolist())
    assert (numpy.diff(found.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary", "binary+none"])
def test_a_corpus_smaller_than_the_usual_searches_is_found_whole(precision):
    found = CellFinder(DOCUMENTS[:5], Cell(dim=64, precision=precision)).nearest(QUERIES, 5)
    assert sorted(found.rows[0]) == [0, 1, 2, 3, 4]


def test_truncated_vectors_have_unit_length_and_full_vectors_are_unchanged():
    assert truncate(QUERIES, 64) is QUERIES
    numpy.testing.assert_allclose(numpy.linalg.norm(truncate(QUERIES, 5), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary", "binary+float16", "binary+none"])
def test_every_score_is_a_cosine_with_the_stored_vector_lowered_by_the_search_that_found_it(precision):
    stored, _, rescored = precision.partition("+")
    index = search_in_memory(DOCUMENTS, precision=stored, rescore=rescored or None)
    kept = DOCUMENTS if stored == "float32" else truncate(index.vectors(numpy.arange(len(DOCUMENTS))), 64)
    kept = kept / numpy.linalg.norm(kept, axis=1, keepdims=True)
    found = CellFinder(DOCUMENTS, Cell(dim=64, precision=precision)).nearest(QUERIES, 1000)
    lowered = numpy.take_along_axis(QUERIES @ kept.T, found.rows, axis=1) - found.scores
    groups = numpy.repeat([0, 4, 8], [11, 90, 899]) if stored != "float32" else numpy.zeros(1000)
    numpy.testing.assert_allclose(lowered, numpy.broadcast_to(groups, lowered.shape), atol=1e-3)
