"""Laws of searching deeper, and the depth that a recall requires."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.search_effort.curve import curves, depths_of, lists_for
from eval.search_effort.required_depth import depth_for, required_depths


def units(vectors):
    return (vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)).astype(numpy.float32)


@pytest.fixture(scope="module")
def world():
    """Documents around 60 centres, queries near documents, and queries from anywhere."""
    draw = numpy.random.default_rng(0)
    centres = draw.normal(size=(60, 24))
    documents = units(centres[draw.integers(60, size=1500)] + 0.6 * draw.normal(size=(1500, 24)))
    near = units(documents[:120] + 0.1 * draw.normal(size=(120, 24)))
    far = units(draw.normal(size=(120, 24)))
    return documents, near, far


@pytest.fixture(scope="module")
def lists(world):
    documents, near, far = world
    return curves(documents, {"near": near, "far": far}, "IVF64", builds=1, seed=0)


@pytest.fixture(scope="module")
def graph(world):
    documents, near, far = world
    return curves(documents, {"near": near, "again": near.copy(), "far": far}, "HNSW8", builds=2, seed=0)


@pytest.mark.parametrize("queries", ["near", "far"])
def test_recall_never_falls_with_more_lists_and_all_lists_find_everything(lists, queries):
    recall = lists[queries].recall
    assert (numpy.diff(recall, axis=0) >= 0).all()
    assert recall[0].mean() < 0.95
    assert (recall[-1] == 1).all()


@pytest.mark.parametrize("queries", ["near", "far"])
def test_recall_of_a_graph_rises_with_depth_up_to_noise(graph, queries):
    means = graph[queries].means
    assert (numpy.diff(means) > -0.01).all()
    assert means[-1] > 0.99 > means[0]


def test_visiting_all_lists_compares_all_documents_and_centroids(lists, world):
    assert lists["near"].distances[-1] == pytest.approx((1500 + 64) / 1500)
    for curve in lists.values():
        assert (numpy.diff(curve.distances) > 0).all()


@pytest.mark.parametrize("made", ["lists", "graph"])
def test_equal_queries_require_equal_depths(request, made):
    curve = request.getfixturevalue(made)["near"]
    for depth in required_depths(curve, curve, seed=0):
        assert depth.teacher == depth.student
        assert (depth.ratio, depth.ratio_interval.low, depth.ratio_interval.high) == (1.0, 1.0, 1.0)


def test_equal_vectors_have_equal_curves(graph):
    assert numpy.array_equal(graph["near"].recall, graph["again"].recall)


def test_distant_queries_require_more_depth_with_an_interval_above_one(graph, lists):
    for made in (graph, lists):
        for depth in required_depths(made["near"], made["far"], seed=0):
            assert depth.student > depth.teacher
            assert depth.student_distances > depth.teacher_distances
            assert 1 < depth.ratio_interval.low <= depth.ratio <= depth.ratio_interval.high


def test_any_of_several_equal_documents_counts():
    documents = numpy.repeat(units(numpy.eye(8)), 40, axis=0)
    found = curves(documents, {"q": units(numpy.eye(8) + 0.01)}, "IVF4", builds=1, seed=0)
    assert (found["q"].recall[-1] == 1).all()


@pytest.mark.parametrize(
    ("means", "target", "depth"),
    [
        ([0.5, 0.9, 1.0], 0.95, 2 * 2**0.5),
        ([0.5, 0.9, 1.0], 0.9, 2.0),
        ([0.5, 0.9, 1.0], 0.7, 2**0.5),
        ([0.97, 0.9, 1.0], 0.95, 1.0),
        ([0.5, 0.9, 0.9], 0.95, numpy.nan),
        ([0.5, 0.96, 0.9], 0.96, 2.0),
        ([1.0, 1.0, 1.0], 1.0, 1.0),
    ],
)
def test_the_depth_is_interpolated_between_logarithms(means, target, depth):
    assert depth_for(numpy.array(means), (1, 2, 4), target) == pytest.approx(depth, nan_ok=True)


@given(
    means=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    targets=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
)
def test_a_higher_recall_never_requires_less_depth(means, targets):
    low, high = (depth_for(numpy.array([means, means]), (1, 2, 4, 9), target) for target in targets)
    assert numpy.array_equal(low[0], low[1], equal_nan=True)
    assert numpy.isnan(high[0]) or 1 <= low[0] <= high[0] * (1 + 1e-9) <= 9 * (1 + 1e-6)


@pytest.mark.parametrize(("factory", "first", "last"), [("HNSW32", 10, 512), ("IVF1024", 1, 1024), ("IVF1", 1, 1)])
def test_depths_rise_from_first_to_last(factory, first, last):
    depths = depths_of(factory)
    assert (depths[0], depths[-1]) == (first, last)
    assert all(numpy.diff(depths) > 0)


def test_the_number_of_lists_by_hand():
    assert lists_for(1_000_000) == "IVF4096"
