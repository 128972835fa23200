"""A fold changes no cosine with its student's vectors; reduced to fewer numbers it keeps most of the documents."""

import dataclasses

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.index.fold import fold, fold_to
from leafkit.space import Space
from leafkit.vectors.rotation import fit_rotation

DIM, WIDTH = 24, 7
SPACE = Space(teacher="drawn", weights="name:drawn", dim=DIM, normalised=True, pooling="mean", max_length=64)


def unit(rows):
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def material(seed, *, layer_norm=False, width=WIDTH):
    """A head, a student's queries and documents; with ``layer_norm`` the hidden numbers sum to 0."""
    draw = numpy.random.default_rng(seed)
    weight, bias = draw.standard_normal((DIM, width)), draw.standard_normal(DIM)
    hidden = draw.standard_normal((400, width)) * numpy.geomspace(1, 0.1, width)
    if layer_norm:
        hidden -= hidden.mean(axis=1, keepdims=True)
    queries = unit(hidden @ weight.T + bias)
    documents = unit(draw.standard_normal((500, DIM)) @ draw.standard_normal((DIM, DIM)) + draw.standard_normal(DIM))
    head = weight.astype(numpy.float32), bias.astype(numpy.float32)
    return head, queries.astype(numpy.float32), documents.astype(numpy.float32)


def moment(queries):
    exact = queries.astype(numpy.float64)
    return exact.T @ exact / len(exact)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), layer_norm=st.booleans())
def test_a_fold_changes_no_cosine(seed, layer_norm):
    head, queries, documents = material(seed, layer_norm=layer_norm)
    folded = fold(*head, moment(queries), SPACE)
    kept = folded.apply(documents, "document")
    asked = folded.apply(queries, "query")
    numpy.testing.assert_allclose(asked @ kept.T, queries @ documents.T, atol=2e-5)
    numpy.testing.assert_allclose(numpy.linalg.norm(asked, axis=1), 1, atol=1e-5)
    numpy.testing.assert_allclose(numpy.linalg.norm(kept, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("seen", [1, 3])
def test_too_few_queries_to_use_all_directions_remove_none(seen):
    head, queries, documents = material(8, layer_norm=True)
    folded = fold(*head, moment(queries[:seen]), SPACE)
    assert folded.dim == WIDTH + 2
    found = folded.apply(queries, "query") @ folded.apply(documents, "document").T
    numpy.testing.assert_allclose(found, queries @ documents.T, atol=2e-5)


def test_a_layer_norm_saves_one_number():
    head, queries, _ = material(0, layer_norm=True)
    assert fold(*head, moment(queries), SPACE).dim == WIDTH + 1
    head, queries, _ = material(0, layer_norm=False)
    assert fold(*head, moment(queries), SPACE).dim == WIDTH + 2


def test_almost_constant_hidden_units_of_a_wide_student_save_numbers():
    draw, dim, width = numpy.random.default_rng(5), 260, 220
    weight, bias = draw.standard_normal((dim, width)), draw.standard_normal(dim)
    hidden = draw.standard_normal((1000, width))
    hidden[:, 3] *= 1e-6
    queries = unit(hidden @ weight.T + bias).astype(numpy.float32)
    documents = unit(draw.standard_normal((50, dim))).astype(numpy.float32)
    still = weight.astype(numpy.float32), bias.astype(numpy.float32)
    folded = fold(*still, moment(queries), dataclasses.replace(SPACE, dim=dim))
    assert folded.dim == width + 1
    found = folded.apply(queries, "query") @ folded.apply(documents, "document").T
    numpy.testing.assert_allclose(found, queries @ documents.T, atol=2e-5)


def test_a_student_as_wide_as_the_space_keeps_all_directions_and_no_length():
    head, queries, documents = material(0, width=DIM)
    folded = fold(*head, moment(queries), SPACE)
    assert (folded.dim, folded.adds_length) == (DIM, False)
    numpy.testing.assert_allclose(
        folded.apply(documents, "document") @ folded.apply(documents, "document").T, documents @ documents.T, atol=1e-5
    )


def test_a_head_multiplied_by_the_fold_writes_folded_queries():
    head, queries, _ = material(3)
    folded = fold(*head, moment(queries), SPACE)
    hidden = numpy.random.default_rng(4).standard_normal((9, WIDTH)).astype(numpy.float32)
    whole = unit(hidden @ head[0].T + head[1])
    inside = unit(hidden @ (folded.query_map @ head[0]).T + folded.query_map @ head[1])
    numpy.testing.assert_allclose(inside, folded.apply(whole, "query"), atol=1e-5)


def test_a_reduced_fold_keeps_the_leading_principal_directions():
    head, queries, documents = material(5, width=DIM)
    whole = fold(*head, moment(queries), SPACE)
    turned = fit_rotation("pca", documents, SPACE)
    for dim in (1, 3, 7):
        cut = fold_to(dim, whole, documents)
        assert (cut.dim, cut.adds_length) == (dim, False)
        expected = turned.apply(queries, "query")[:, :dim] @ turned.apply(documents, "document")[:, :dim].T
        got = cut.apply(queries, "query") @ cut.apply(documents, "document").T
        numpy.testing.assert_allclose(got, expected, atol=1e-5)


def test_no_other_directions_within_the_fold_hold_more_of_the_documents():
    head, queries, documents = material(6)
    whole = fold(*head, moment(queries), SPACE)
    held = numpy.square(fold_to(3, whole, documents).apply(documents, "document")).sum()
    draw = numpy.random.default_rng(0)
    for _ in range(50):
        within = whole.documents.T @ numpy.linalg.qr(draw.standard_normal((len(whole.documents), 3)))[0]
        assert numpy.square(documents @ within).sum() < held
