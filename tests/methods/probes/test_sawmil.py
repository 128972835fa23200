"""sAwMIL: the two stages of the probe, its mask, the conformal abstention, and what a student keeps."""

import numpy
import pytest
import torch
from sklearn.svm import LinearSVC

from leafkit.errors import OptionError
from leafkit.methods.batch import TokenStates
from leafkit.methods.probes.sawmil import (
    Sawmil,
    capped,
    linear_svm,
    nonconformity,
    p_values,
    positive_tokens,
    sawmil,
    sparse_bags,
    thirds,
)


def cosine(one, other):
    return one @ other / numpy.linalg.norm(one) / numpy.linalg.norm(other)


def gaussian(seed, *shape):
    return numpy.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def planted():
    """Bags of ten tokens; those of the first half have a direction planted in their last two tokens."""
    direction = gaussian(1, 12)
    direction /= numpy.linalg.norm(direction)
    tokens, positive = gaussian(0, 120, 10, 12), numpy.arange(120) < 60
    tokens[:60, -2:] += 3 * direction
    return list(tokens), positive, direction


def test_the_svm_is_that_of_liblinear():
    points, weights = gaussian(0, 80, 5), numpy.full(80, 0.3)
    sides = numpy.where(points[:, 0] + gaussian(1, 80) > 0.5, 1.0, -1.0)
    # liblinear penalises the bias, less so the larger its scale.
    rival = LinearSVC(C=0.3, dual=False, intercept_scaling=100, tol=1e-10).fit(points, sides)
    direction, bias = linear_svm(points, sides, weights)
    numpy.testing.assert_allclose(direction, rival.coef_[0], atol=1e-3)
    assert bias == pytest.approx(rival.intercept_[0], abs=1e-3)


def test_with_bags_of_one_located_token_the_probe_is_a_plain_svm():
    tokens = gaussian(0, 90, 6)
    positive = tokens[:, 0] + gaussian(1, 90) > 0
    found = sawmil(list(tokens[:, None]), positive, last=1, cost=0.2)
    plain = linear_svm(tokens, numpy.where(positive, 1.0, -1.0), numpy.full(90, 0.2))
    numpy.testing.assert_allclose(found[0], plain[0], atol=1e-4)
    assert found[1] == pytest.approx(plain[1], abs=1e-4)


def test_the_first_stage_asks_less_of_larger_positive_bags():
    # Its margin for the mean of n tokens is 2/n - 1, and with a high cost both margins are nearly met.
    negative, positive = numpy.array([[-1.0]]), numpy.array([[3.0], [-1.0], [-1.0], [-1.0]])
    direction, bias = sparse_bags([negative, positive], numpy.array([False, True]), 100)
    assert direction[0] * -1 + bias == pytest.approx(-1, abs=0.01)
    assert direction[0] * positive.mean() + bias == pytest.approx(2 / 4 - 1, abs=0.01)


def test_a_direction_in_two_of_ten_tokens_is_found_and_better_than_from_mean_tokens(planted):
    bags, positive, direction = planted
    found = sawmil(bags, positive, last=2, cost=0.05)[0]
    means = numpy.array([bag.mean(axis=0) for bag in bags])
    rival = linear_svm(means, numpy.where(positive, 1.0, -1.0), numpy.full(len(means), 0.05))[0]
    assert abs(cosine(found, direction)) > 0.9
    assert abs(cosine(found, direction)) > abs(cosine(rival, direction))


def test_only_located_tokens_can_be_positive(planted):
    bags, _, direction = planted
    tokens, located = numpy.concatenate(bags[:60]), numpy.tile(numpy.arange(10) >= 8, 60)
    scores = tokens @ direction
    loud = scores + 100 * ~located
    assert not (positive_tokens(loud, located, 0.9, 60) & ~located).any()
    chosen = positive_tokens(scores, located, 0.2, 60)
    assert not (chosen & ~located).any()
    assert chosen.sum() > 90
    # The number that is chosen is at least that of the bags, here 3 of 4 tokens.
    assert positive_tokens(numpy.arange(4.0), numpy.ones(4, dtype=bool), 0.25, 3).tolist() == [False, True, True, True]


def test_if_hardly_any_located_token_is_left_the_threshold_alone_decides():
    scores, located = numpy.arange(100.0), numpy.arange(100) < 4
    assert numpy.flatnonzero(positive_tokens(scores, located, 0.04, 2)).tolist() == [96, 97, 98, 99]


def test_the_true_class_is_kept_with_the_promised_frequency():
    # With 99 calibration texts and an error of 0.1 the expected coverage is exactly 0.9.
    draws = numpy.random.default_rng(0).standard_normal((4000, 100))
    kept = [p_values(draw[1:], draw[:1])[0] > 0.1 for draw in draws]
    assert numpy.mean(kept) == pytest.approx(0.9, abs=0.015)


def test_p_values_and_nonconformity_worked_by_hand():
    assert p_values(numpy.array([0.1, 0.5, 0.5, 0.9]), numpy.array([0.5, 1.0, 0.0])).tolist() == [4 / 5, 1 / 5, 1]
    numpy.testing.assert_allclose(
        nonconformity(numpy.array([[0.7, 0.2, 0.1], [0, 1, 0]])), [[0.25, 0.75, 0.8], [1, 0, 1]]
    )


def test_a_bag_keeps_its_last_tokens_and_draws_the_others():
    kept = [capped(numpy.arange(30), seed, last=2, most=10).tolist() for seed in range(20)]
    assert all(len(set(each)) == 10 and each[-2:] == [28, 29] and each == sorted(each) for each in kept)
    assert set(numpy.concatenate(kept)) == set(range(30))
    assert capped(numpy.arange(5), 0, last=2, most=10).tolist() == [0, 1, 2, 3, 4]


def test_the_parts_are_a_half_and_two_quarters_without_overlap():
    parts = thirds(101)
    assert [len(part) for part in parts] == [50, 26, 25]
    assert sorted(numpy.concatenate(parts)) == list(range(101))


@pytest.fixture
def look(make_look):
    """A look at 240 statements of three classes; ``student`` maps the teacher's token states to the student's."""

    def make(student=lambda states: states, labels=None, width=12):
        labels = numpy.arange(240) % 3 if labels is None else labels
        states = gaussian(0, 240, 6, width)
        states[:, -2:] += 4 * gaussian(1, 3, 1, width)[labels]
        mask = numpy.ones((240, 6), dtype=bool)
        mask[::2, 0] = mask[0] = False
        ours = student(states)

        def tokens(rows):
            return TokenStates(
                **{
                    name: torch.from_numpy(values[rows].copy())
                    for name, values in (("student", ours), ("teacher", states), ("mask", mask))
                }
            )

        vectors = numpy.zeros((240, 4), dtype=numpy.float32)
        return make_look(vectors, vectors, labels=labels, tokens=tokens)

    return make


def test_a_rotated_student_keeps_all_that_the_teacher_says(look):
    rotation = numpy.linalg.qr(gaussian(3, 12, 12))[0]
    found = Sawmil().observe(look(lambda states: 3 * states @ rotation + 1))
    assert found["teacher_weighted"] > 0.8
    assert found["kept"] == pytest.approx(1, abs=0.15)
    assert found["mapped"] > 0.8
    assert found["cosine"] > 0.8


def test_a_student_without_the_classes_keeps_nothing(look):
    found = Sawmil().observe(look(lambda states: gaussian(5, *states.shape)))
    assert found["teacher_weighted"] > 0.8
    assert abs(found["kept"]) < 0.2
    assert abs(found["mapped"]) < 0.2
    assert found["student_coverage"] > 0.75


@pytest.mark.parametrize("labels", [numpy.zeros(240, dtype=int), numpy.where(numpy.arange(240) < 30, 1, -1)])
def test_classes_that_cannot_be_learned_raise_an_event(labels, look):
    found = Sawmil().observe(look(labels=labels))
    assert found == {"labelled": int((labels >= 0).sum()), "events": ["few_labels"]}


def test_texts_without_a_label_and_those_beyond_the_limit_are_left_out(look):
    labels = numpy.where(numpy.arange(240) % 2, numpy.arange(240) % 3, -1)
    assert Sawmil().observe(look(labels=labels))["labelled"] == 120
    assert Sawmil(texts=100).observe(look(labels=labels))["labelled"] == 100


def test_a_training_of_one_class_is_refused(make_setting):
    with pytest.raises(OptionError, match="sawmil found 1 class; expected two"):
        Sawmil().check(make_setting(labels=numpy.zeros(120, dtype=int)))
    Sawmil(every=0).check(make_setting(labels=numpy.zeros(120, dtype=int)))


@pytest.mark.parametrize(
    "field", [{"last": -1}, {"most": 0}, {"cost": 0.0}, {"error": 1.0}, {"texts": 0}, {"every": -1}]
)
def test_invalid_options_are_refused(field):
    with pytest.raises(OptionError, match=f"sawmil:{next(iter(field))} is .*; expected"):
        Sawmil(**field)
