"""The modes of condense, and the exact condensation of a linear student that the card of the method describes."""

import logging

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.files.digest import text_key
from leafkit.methods.writers.condense import Condense, choose, herding, k_centers, matching_loss, pursuit
from leafkit.texts.table import TextTable

MODES = ["herding", "kcenter", "omp", "random"]


def unit(rows, dim=32, seed=0, shift=0.0):
    drawn = numpy.random.default_rng(seed).standard_normal((rows, dim)) + shift
    return (drawn / numpy.linalg.norm(drawn, axis=1, keepdims=True)).astype(numpy.float32)


def corpus(count):
    texts = TextTable(repeated=3)
    for row in range(count):
        role = ("query", "document")[row % 2]
        texts.add(f"text {row}", role, text_key(role, f"text {row}"), label=f"class {row % 4}", domain="a")
        texts.counts[role, "a"] += 1
    return texts


class Answers:
    """A teacher that answers with given vectors, and remembers what it was asked."""

    def __init__(self, vectors):
        self.vectors, self.asked = vectors, []

    def encode(self, texts, roles):
        self.asked += zip(roles, texts)
        return self.vectors[: len(texts)]


def error(vectors, rows):
    return matching_loss(vectors, vectors[rows]) ** 0.5


def exact(features, targets):
    """Return at most dim rows of features and targets with the same ridge solutions and gradients for every student.

    X = Q R, X_s = R, Y_s = Q^T Y, so that X_s^T X_s = X^T X and X_s^T Y_s = X^T Y. At full rank, X_s is the transposed
    Cholesky factor of X^T X.
    """
    basis, triangle = numpy.linalg.qr(features)
    signs = numpy.where(triangle.diagonal() < 0, -1.0, 1.0).astype(triangle.dtype)
    return signs[:, None] * triangle, signs[:, None] * (basis.T @ targets)


@pytest.fixture
def problem():
    """Features (300, 7) and targets (300, 5) of a linear student."""
    draw = numpy.random.default_rng(0)
    features, targets = draw.standard_normal((300, 7)) @ draw.standard_normal((7, 7)), draw.standard_normal((300, 5))
    return features, targets


def ridge(features, targets, penalty):
    return numpy.linalg.solve(features.T @ features + penalty * numpy.eye(features.shape[1]), features.T @ targets)


def gradient(features, targets, student):
    return features.T @ (features @ student - targets)


@pytest.mark.parametrize("penalty", [0.0, 1e-6, 1e-2, 1.0, 37.0, 1e4])
def test_the_exact_set_has_the_same_ridge_solution_for_every_penalty(penalty, problem):
    condensed = exact(*problem)
    assert [array.shape for array in condensed] == [(7, 7), (7, 5)]
    numpy.testing.assert_allclose(ridge(*condensed, penalty), ridge(*problem, penalty), rtol=1e-9, atol=1e-11)


def test_the_exact_set_has_the_same_gradient_for_every_student(problem):
    condensed = exact(*problem)
    for seed in range(10):
        student = 10.0 ** (seed - 5) * numpy.random.default_rng(seed).standard_normal((7, 5))
        one, other = gradient(*problem, student).ravel(), gradient(*condensed, student).ravel()
        numpy.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-9)
        assert one @ other / numpy.linalg.norm(one) / numpy.linalg.norm(other) == pytest.approx(1, abs=1e-12)


def test_the_exact_set_is_the_transposed_cholesky_factor_and_its_targets(problem):
    features, targets = problem
    factor = numpy.linalg.cholesky(features.T @ features).T
    condensed = exact(features, targets)
    numpy.testing.assert_allclose(condensed[0], factor, atol=1e-10)
    numpy.testing.assert_allclose(condensed[1], numpy.linalg.solve(factor.T, features.T @ targets), atol=1e-10)


@pytest.mark.parametrize("rows", [1, 3, 300])
def test_the_exact_set_is_lossless_without_full_rank(rows, problem):
    features, targets = problem[0][:rows].copy(), problem[1][:rows]
    features[:, 2] = features[:, 5]
    condensed = exact(features, targets)
    assert len(condensed[0]) == min(rows, 7)
    for penalty in (0.1, 10.0):
        numpy.testing.assert_allclose(ridge(*condensed, penalty), ridge(features, targets, penalty), atol=1e-9)


def test_the_matching_loss_is_zero_only_for_the_same_set():
    vectors = unit(50)
    assert matching_loss(vectors, vectors) == 0
    assert matching_loss(vectors, vectors[::-1]) == pytest.approx(0, abs=1e-15)
    assert matching_loss(vectors, vectors[:10]) > 1e-3
    assert matching_loss(numpy.array([[1.0, 0.0], [3.0, 0.0]]), numpy.array([[2.0, 1.0]])) == 1.0


@pytest.mark.parametrize("mode", MODES)
def test_choosing_all_texts_matches_the_mean_exactly(mode):
    vectors = unit(40)
    rows = choose(vectors, 40, mode, seed=0)
    assert sorted(rows) == list(range(40))
    assert error(vectors, rows) < 1e-6


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_herding_halves_the_distance_of_the_means_of_random_texts(shift):
    herded, drawn = [], []
    for seed in range(5):
        vectors = unit(3000, seed=seed, shift=shift)
        herded.append(error(vectors, choose(vectors, 64, "herding", seed)))
        drawn.append(error(vectors, choose(vectors, 64, "random", seed)))
    assert numpy.mean(herded) <= 0.5 * numpy.mean(drawn)
    assert max(herded) <= 0.5 * min(drawn)


def test_each_choice_of_herding_is_the_best_next_text():
    vectors = numpy.random.default_rng(0).standard_normal((30, 4)).astype(numpy.float32)
    rows = herding(vectors, 8).tolist()
    for step in range(1, 8):
        others = [row for row in range(30) if row not in rows[:step]]
        assert rows[step] == min(others, key=lambda row: error(vectors, [*rows[:step], row]))


def test_k_centers_are_within_twice_the_optimal_radius():
    corners = 10 * numpy.eye(5, dtype=numpy.float32)
    vectors = numpy.repeat(corners, 20, axis=0) + 0.1 * unit(100, 5)
    for start in (0, 37, 99):
        rows = k_centers(vectors, 5, start)
        assert rows[0] == start
        assert sorted(rows // 20) == [0, 1, 2, 3, 4]
        nearest = numpy.linalg.norm(vectors[:, None] - vectors[rows], axis=-1).min(axis=1)
        assert nearest.max() <= 2 * 0.1


def test_k_centers_cover_better_than_random_texts_and_repeat_none():
    vectors = unit(400, 6)

    def radius(rows):
        return numpy.linalg.norm(vectors[:, None] - vectors[rows], axis=-1).min(axis=1).max()

    for seed in range(3):
        assert radius(choose(vectors, 40, "kcenter", seed)) < radius(choose(vectors, 40, "random", seed))
    same = numpy.ones((6, 2), dtype=numpy.float32)
    assert sorted(k_centers(same, 6, 3)) == list(range(6))


def residual(vectors, rows):
    """The norm of the mean gradient minus its best approximation by the gradients of ``rows``."""
    gradients = numpy.einsum("rd,re->rde", vectors, vectors).reshape(len(vectors), -1).astype(numpy.float64)
    expected = gradients.mean(axis=0)
    weights = numpy.linalg.lstsq(gradients[rows].T, expected, rcond=None)[0]
    return float(numpy.linalg.norm(expected - weights @ gradients[rows]))


def test_pursuit_chooses_the_text_that_agrees_most_with_the_residual_gradient():
    vectors = unit(60, 5)
    rows = pursuit(vectors, 6).tolist()
    gradients = numpy.einsum("rd,re->rde", vectors, vectors).reshape(60, -1).astype(numpy.float64)
    expected = gradients.mean(axis=0)
    for step in range(6):
        weights = numpy.linalg.lstsq(gradients[rows[:step]].T, expected, rcond=None)[0]
        agreement = gradients @ (expected - weights @ gradients[rows[:step]])
        agreement[rows[:step]] = -numpy.inf
        assert rows[step] == agreement.argmax()


def test_pursuit_has_a_smaller_residual_than_random_texts():
    for seed in range(3):
        vectors = unit(400, 6, seed=seed)
        assert residual(vectors, pursuit(vectors, 10)) < 0.8 * residual(vectors, choose(vectors, 10, "random", seed))
        assert residual(vectors, pursuit(vectors, 21)) < 0.2 * residual(vectors, pursuit(vectors, 5))
    twice = numpy.repeat(unit(5, 4), 2, axis=0)
    assert sorted(pursuit(twice, 10)) == list(range(10))


@pytest.mark.parametrize("mode", MODES)
def test_chosen_texts_keep_order_roles_labels_and_read_counts(mode, caplog):
    texts, vectors = corpus(60), unit(60)
    with caplog.at_level(logging.INFO, logger="leafkit"):
        kept = Condense(mode=mode, share=0.25).write(texts, ask := Answers(vectors), 0)
    assert len(kept) == 15
    assert ask.asked == ([] if mode == "random" else list(zip(texts.roles, texts.texts)))
    assert "chose 15 of 60 texts" in caplog.text
    rows = [int(text.split()[1]) for text in kept.texts]
    assert rows == sorted(set(rows))
    assert rows == sorted(choose(vectors, 15, mode, 0))
    for name in ("roles", "keys", "labels", "domains"):
        assert getattr(kept, name) == [getattr(texts, name)[row] for row in rows]
    assert (kept.counts, kept.repeated) == (texts.counts, 3)
    assert len(texts) == 60


@pytest.mark.parametrize("mode", MODES)
def test_the_seed_decides_the_choice_only_of_random_modes(mode):
    texts, vectors = corpus(60), unit(60)
    found = [Condense(mode=mode).write(texts, Answers(vectors), seed).texts for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert (found[0] == found[2]) == (mode in ("herding", "omp"))


@pytest.mark.parametrize("mode", MODES)
def test_a_share_of_one_returns_the_texts_unchanged(mode):
    texts = corpus(6)
    assert Condense(mode=mode, share=1.0).write(texts, Answers(unit(6)), 0) is texts


def test_invalid_options_are_refused(make_setting):
    with pytest.raises(OptionError, match="condense:mode is 'soft'; expected herding, kcenter, omp, random"):
        Condense(mode="soft")
    for share in (0.0, -0.5, 1.5, float("nan")):
        with pytest.raises(OptionError, match=r"condense:share is .*; expected more than 0 and at most 1"):
            Condense(share=share)
    with pytest.raises(OptionError, match=r"condense:share is 0\.001; expected a share of 120 texts that is 1 text or"):
        Condense(share=0.001).check(make_setting())
