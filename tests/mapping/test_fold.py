"""A fold answers its student as the whole vectors would; cut to fewer numbers, it errs least."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leafkit.errors import OptionError
from leafkit.mapping.fold import expected_queries, fold, fold_to
from leafkit.space import Space

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
def test_every_cosine_is_as_it_was(seed, layer_norm):
    head, queries, documents = material(seed, layer_norm=layer_norm)
    folded = fold(*head, moment(queries), SPACE)
    kept = folded.apply(documents, "document")
    asked = folded.apply(queries, "query")
    numpy.testing.assert_allclose(asked @ kept.T, queries @ documents.T, atol=2e-5)
    numpy.testing.assert_allclose(numpy.linalg.norm(asked, axis=1), 1, atol=1e-5)
    numpy.testing.assert_allclose(numpy.linalg.norm(kept, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("seen", [1, 3])
def test_queries_that_were_too_few_to_know_all_directions_take_none_away(seen):
    head, queries, documents = material(8, layer_norm=True)
    folded = fold(*head, moment(queries[:seen]), SPACE)
    assert folded.dim == WIDTH + 2
    found = folded.apply(queries, "query") @ folded.apply(documents, "document").T
    numpy.testing.assert_allclose(found, queries @ documents.T, atol=2e-5)


def test_a_layer_norm_makes_place_for_the_length():
    head, queries, _ = material(0, layer_norm=True)
    assert fold(*head, moment(queries), SPACE).dim == WIDTH + 1
    head, queries, _ = material(0, layer_norm=False)
    assert fold(*head, moment(queries), SPACE).dim == WIDTH + 2


def test_a_student_as_wide_as_the_space_keeps_all_of_it_and_needs_no_length():
    head, queries, documents = material(0, width=DIM)
    folded = fold(*head, moment(queries), SPACE)
    assert (folded.dim, folded.length) == (DIM, False)
    numpy.testing.assert_allclose(
        folded.apply(documents, "document") @ folded.apply(documents, "document").T, documents @ documents.T, atol=1e-5
    )


def test_a_head_that_takes_the_map_in_writes_the_folded_query():
    head, queries, _ = material(3)
    folded = fold(*head, moment(queries), SPACE)
    hidden = numpy.random.default_rng(4).standard_normal((9, WIDTH)).astype(numpy.float32)
    whole = unit(hidden @ head[0].T + head[1])
    inside = unit(hidden @ (folded.query_map @ head[0]).T + folded.query_map @ head[1])
    numpy.testing.assert_allclose(inside, folded.apply(whole, "query"), atol=1e-5)


def centred_error(queries, documents, asked, kept):
    """The mean squared error of scores, each query's mean score left out."""
    exact, got = queries @ documents.T, asked @ kept.T
    difference = (exact - exact.mean(axis=1, keepdims=True)) - (got - got.mean(axis=1, keepdims=True))
    return float(numpy.square(difference).mean())


def queries_of(expected, count=4000):
    """Queries that use the directions of ``expected``."""
    values, vectors = numpy.linalg.eigh(expected)
    drawn = numpy.random.default_rng(1).standard_normal((count, len(values)))
    white = drawn @ numpy.linalg.inv(numpy.linalg.cholesky(drawn.T @ drawn / count)).T
    return white @ (vectors * numpy.sqrt(values.clip(min=0))).T


@pytest.mark.parametrize("dim", [3, 5, 7])
def test_no_other_map_of_that_width_errs_less_on_the_queries_expected(dim):
    head, queries, documents = material(5, width=DIM)
    whole = fold(*head, moment(queries), SPACE)
    cut = fold_to(dim, whole, moment(queries), documents)
    assert cut.dim == dim
    covariance = numpy.cov(documents, rowvar=False)
    asked = queries_of(expected_queries(moment(queries), covariance))
    found = centred_error(asked, documents, cut.apply(asked, "query"), cut.apply(documents, "document"))
    _, pca = numpy.linalg.eigh(covariance)
    rivals = [pca[:, ::-1][:, : dim - 1]]
    draw = numpy.random.default_rng(0)
    rivals += [numpy.linalg.qr(draw.standard_normal((DIM, dim - 1)))[0] for _ in range(20)]
    _, within = numpy.linalg.eigh(moment(queries))
    rivals.append(within[:, ::-1][:, : dim - 1])
    for rival in rivals:
        assert found < centred_error(asked, documents, asked @ rival, documents @ rival)


def test_its_error_is_the_one_that_theory_leaves():
    head, queries, documents = material(6, width=DIM)
    second = moment(queries)
    cut = fold_to(5, fold(*head, second, SPACE), second, documents)
    covariance = numpy.cov(documents, rowvar=False)
    expected = expected_queries(second, covariance)
    asked = queries_of(expected)
    found = centred_error(asked, documents, cut.apply(asked, "query"), cut.apply(documents, "document"))
    values, vectors = numpy.linalg.eigh(expected)
    root = (vectors * numpy.sqrt(values.clip(min=0))) @ vectors.T
    singular = numpy.linalg.eigvalsh(root @ covariance @ root)[::-1]
    assert found == pytest.approx(singular[4:].sum(), rel=0.01)


def test_documents_are_not_cut_longer_than_1():
    head, queries, documents = material(7)
    cut = fold_to(4, fold(*head, moment(queries), SPACE), moment(queries), documents)
    lengths = numpy.linalg.norm(cut.apply(documents, "document"), axis=1)
    numpy.testing.assert_allclose(lengths, 1, atol=1e-5)


@pytest.mark.parametrize("rows", [[], [0], [0, 0, 0]])
def test_documents_that_do_not_differ_cannot_say_where_to_cut(rows):
    head, queries, documents = material(7)
    with pytest.raises(OptionError, match=f"there are {len(rows)}, none unlike another; leave dim out"):
        fold_to(4, fold(*head, moment(queries), SPACE), moment(queries), documents[rows])


def test_what_all_queries_share_counts_as_much_as_the_next_direction():
    shared = numpy.diag([100.0, 0.4, 0.3, 0.3])
    numpy.testing.assert_allclose(
        expected_queries(shared, numpy.eye(4)), numpy.diag([0.4, 0.4, 0.3, 0.3]) / 1.4 / 2 + numpy.eye(4) / 8
    )
