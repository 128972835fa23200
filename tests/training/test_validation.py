import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from leafkit.training import validation as home
from leafkit.training.validation import measure, overlap, spread
from leafkit.vectors.cosine import row_cosines


def vectors(rows, dim=8, seed=0):
    return numpy.random.default_rng(seed).standard_normal((rows, dim)).astype(numpy.float32)


def rotation(dim=8):
    return numpy.linalg.qr(vectors(dim, dim, seed=9))[0]


@given(st.integers(1, 60))
def test_the_teacher_itself_is_a_perfect_student(rows):
    figures = measure(vectors(rows), vectors(rows))
    assert figures.cosine_mean == pytest.approx(1)
    assert figures.cosine_p5 == pytest.approx(1)
    assert overlap(vectors(rows), vectors(rows), 10) == pytest.approx(1)
    assert figures.spread == pytest.approx(1)
    assert figures.distance == pytest.approx(0)


def test_a_rotation_of_both_changes_no_figure():
    student, teacher = vectors(200, seed=1), vectors(200, seed=2)
    one, other = measure(student, teacher), measure(student @ rotation(), teacher @ rotation())
    assert one.cosine_mean == pytest.approx(other.cosine_mean, abs=1e-5)
    assert one.overlap_at_10 == pytest.approx(other.overlap_at_10)
    assert one.spread == pytest.approx(other.spread, abs=1e-5)


def test_overlap_is_what_scikit_learn_finds():
    student, teacher = vectors(60, seed=1) + vectors(60, seed=2), vectors(60, seed=2)
    index = NearestNeighbors(n_neighbors=60, metric="cosine").fit(teacher)
    wanted, found = (index.kneighbors(v, return_distance=False) for v in (teacher, student))
    lists = [
        ([r for r in w if r != i][:10], [r for r in f if r != i][:10]) for i, (w, f) in enumerate(zip(wanted, found))
    ]
    assert overlap(student, teacher, 10) == pytest.approx(numpy.mean([len({*w} & {*f}) / 10 for w, f in lists]))


def test_overlap_is_measured_from_200_texts_on():
    assert measure(vectors(199), vectors(199)).overlap_at_10 is None
    assert measure(vectors(200), vectors(200)).overlap_at_10 == pytest.approx(1)


def test_overlap_does_not_depend_on_how_rows_are_chunked():
    student, teacher = vectors(1500, seed=1) + vectors(1500, seed=2), vectors(1500, seed=2)
    order = numpy.random.default_rng(0).permutation(1500)
    assert overlap(student, teacher, 10) == pytest.approx(overlap(student[order], teacher[order], 10))


def test_figures_worked_by_hand():
    student = numpy.array([[2, 0], [0, 1], [0, 0]], dtype=numpy.float32)
    teacher = numpy.array([[1, 0], [1, 0], [1, 0]], dtype=numpy.float32)
    assert row_cosines(student, teacher).tolist() == [1, 0, 0]
    assert measure(student, teacher).distance == pytest.approx((1 + 2**0.5 + 1) / 3)


def test_spread_is_zero_if_all_vectors_have_one_direction():
    assert spread(numpy.outer([1, 2, 3], numpy.ones(8)).astype(numpy.float32), vectors(3)) == pytest.approx(0)


def test_figures_are_defined_for_one_text_and_for_equal_teacher_vectors():
    assert overlap(vectors(1), vectors(1), 10) == 1
    assert spread(vectors(3), numpy.ones((3, 8), numpy.float32)) == 1


def test_overlap_of_many_texts_is_measured_on_a_sample(monkeypatch):
    student, teacher = vectors(400, seed=1) + vectors(400, seed=2), vectors(400, seed=2)
    whole = measure(student, teacher)
    monkeypatch.setattr(home, "MOST_NEIGHBOURED", 300)
    some = measure(student, teacher)
    assert some.overlap_at_10 != whole.overlap_at_10
    assert some.overlap_at_10 == pytest.approx(whole.overlap_at_10, abs=0.05)
    assert some.cosine_mean == whole.cosine_mean
