"""The figures of the laboratory against values worked by hand and a rival."""

import numpy
import pytest
from scipy.stats import kendalltau

from eval.mechanism.figures import accuracy, class_scores, cosine, ndcg, neighbour_order, overlap


def circle(*degrees):
    angles = numpy.radians(degrees)
    return numpy.column_stack([numpy.cos(angles), numpy.sin(angles)]).astype(numpy.float32)


def test_a_rotated_student_keeps_its_neighbours_but_not_its_cosine():
    teacher = circle(0, 10, 25, 100, 130, 170)
    student = circle(60, 70, 85, 160, 190, 230)
    assert overlap(student, teacher, 2) == 1
    assert neighbour_order(student, teacher, 4) == pytest.approx(1)
    assert cosine(student, teacher) == pytest.approx(0.5)


def test_overlap_counts_shared_neighbours():
    # Nearest of 0, 10 and 90 degrees: 10, 0 and 10; after 10 has moved to 80 degrees: 80, 90 and 80.
    assert overlap(circle(0, 80, 90), circle(0, 10, 90), 1) == pytest.approx(2 / 3)


def test_neighbour_order_is_kendalls_tau_over_the_teachers_neighbours():
    draw = numpy.random.default_rng(0)
    student, teacher = (draw.standard_normal((9, 4)).astype(numpy.float32) for _ in range(2))
    student, teacher = (each / numpy.linalg.norm(each, axis=1, keepdims=True) for each in (student, teacher))
    taus = []
    for row in range(9):
        others = [other for other in range(9) if other != row]
        others = sorted(others, key=lambda other: -(teacher @ teacher[row])[other])[:5]
        taus.append(kendalltau((student @ student[row])[others], (teacher @ teacher[row])[others]).statistic)
    assert neighbour_order(student, teacher, 5) == pytest.approx(numpy.mean(taus))


def test_ndcg_of_one_right_document_falls_with_its_rank():
    documents = circle(0, 20, 90)
    pairs = numpy.array([[0, 0], [1, 1], [2, 2]])
    # The right documents have the ranks 1, 2 and 3.
    queries = circle(0, 0, 0)
    assert ndcg(queries, documents, pairs) == pytest.approx((1 + 1 / numpy.log2(3) + 0.5) / 3)
    assert ndcg(queries, documents, pairs, most=1) == pytest.approx(1 / 3)


def test_classes_are_the_nearest_means_of_the_teacher():
    scores = class_scores(circle(5, 80), circle(0, 20, 90), numpy.array([0, 0, 1]))
    assert accuracy(scores, numpy.array([0, 1])) == 1
    assert accuracy(scores, numpy.array([1, 1])) == 0.5
