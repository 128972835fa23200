"""Self-distillation against its closed form for ridge regression on a kernel K with ridge lambda.

    A = K (K + lambda I)^-1              Y_g = A (alpha Y + (1 - alpha) Y_g-1), Y_-1 = Y
    b = eigenvalue / (eigenvalue + lambda)    B_0 = b, B_g = b ((1 - alpha) B_g-1 + alpha)
    limit: ridge with lambda / alpha     alpha* = 1 - <g - f, Y' - f> / |g - f|^2 on validation targets Y'

The functions below give the closed form; a training whose student is a ridge regression must reproduce it.
"""

import numpy
import pytest

from leafkit.errors import OptionError
from leafkit.methods.topologies.self_distillation import SelfDistillation, mix, rescale

RIDGE = 0.3
TRUTHS = [0.1, 0.25, 0.7, 1.0]


def kernel_of(points, others, width=0.15):
    return numpy.exp(-((points[:, None] - others[None]) ** 2) / (2 * width**2))


def smoother(kernel, ridge):
    """A, (rows, rows): the map from targets to the predictions of a ridge regression on the same rows."""
    return numpy.linalg.solve(kernel + ridge * numpy.eye(len(kernel)), kernel)


def iterated_ridge(kernel, targets, ridge, truth, generations):
    """Coefficients (rows, dim) of the last of ``generations`` ridge regressions after the first.

    Predictions are the kernel of some points with the training rows, (points, rows), times the coefficients.
    """
    regular = kernel + ridge * numpy.eye(len(kernel))
    coefficients = numpy.linalg.solve(regular, targets)
    for _ in range(generations):
        coefficients = numpy.linalg.solve(regular, mix(targets, kernel @ coefficients, truth))
    return coefficients


def limit_ridge(kernel, targets, ridge, truth):
    """The coefficients that `iterated_ridge` converges to: one regression with ``ridge / truth``, or 0 for truth 0."""
    if truth == 0:
        return numpy.zeros_like(targets)
    return numpy.linalg.solve(kernel + ridge / truth * numpy.eye(len(kernel)), targets)


def shrinkage(eigenvalues, ridge, truth, generations):
    """B, (rows,): the share of the targets along each eigenvector of the kernel that the predictions keep."""
    once = eigenvalues / (eigenvalues + ridge)
    share = once
    for _ in range(generations):
        share = once * mix(numpy.ones_like(once), share, truth)
    return share


def best_truth(first, again, expected):
    """The truth alpha* whose ridge regression is nearest to ``expected``, all (points, dim) of validation points.

    ``first`` are predictions after learning the targets alone, ``again`` after learning the previous generation alone.
    """
    step = again - first
    size = float((step * step).sum())
    return 1 - float((step * (expected - first)).sum()) / size if size > 0 else 1.0


@pytest.fixture
def curve():
    """The kernel and noisy values of two curves at 40 points; the kernel and clean values at 60 points between."""
    draw = numpy.random.default_rng(3)
    points, between = numpy.linspace(0, 1, 40), numpy.linspace(0.01, 0.99, 60)

    def clean(x):
        return numpy.stack([numpy.sin(6 * x), numpy.cos(4 * x)], axis=1)

    targets = clean(points) + 0.6 * draw.standard_normal((40, 2))
    return kernel_of(points, points), targets, kernel_of(between, points), clean(between)


class RidgeTraining:
    """A training whose student is a ridge regression; ``given`` records the targets of each generation."""

    def __init__(self, setting, kernel, ridge=RIDGE):
        self.setting, self.kernel, self.ridge, self.given = setting, kernel, ridge, []

    def fit(self, name, *, rows=None, targets=None, start=None):
        assert name == (f"generation-{len(self.given)}" if self.given else "first")
        assert rows is None
        assert start is None
        self.name, rows = name, numpy.arange(self.setting.texts)
        self.given.append(targets)
        taught = self.setting.targets(rows) if targets is None else targets
        self.vectors = (smoother(self.kernel, self.ridge) @ taught).astype(taught.dtype)

    def student(self, name, rows):
        assert name == self.name
        return self.vectors[rows]


@pytest.fixture
def training(curve, make_setting):
    """Make a `RidgeTraining` of the curve, or of the curve's unit vectors."""
    kernel, targets, *_ = curve

    def make(*, unit=False):
        taught = targets / numpy.linalg.norm(targets, axis=1, keepdims=True) if unit else targets
        roles = numpy.zeros(len(taught), dtype=numpy.int64)
        return RidgeTraining(make_setting(roles=roles, dim=2, targets=lambda rows: taught[rows]), kernel)

    return make


@pytest.mark.parametrize("generations", [0, 1, 5])
def test_with_truth_one_every_generation_is_the_plain_regression(curve, generations):
    kernel, targets, *_ = curve
    plain = numpy.linalg.solve(kernel + RIDGE * numpy.eye(40), targets)
    numpy.testing.assert_allclose(iterated_ridge(kernel, targets, RIDGE, 1.0, generations), plain, atol=1e-12)
    numpy.testing.assert_allclose(kernel @ plain, smoother(kernel, RIDGE) @ targets, atol=1e-12)


@pytest.mark.parametrize("truth", TRUTHS)
def test_many_generations_converge_to_one_regression_with_ridge_over_truth(curve, truth):
    kernel, targets, between, _ = curve
    many, limit = iterated_ridge(kernel, targets, RIDGE, truth, 400), limit_ridge(kernel, targets, RIDGE, truth)
    numpy.testing.assert_allclose(kernel @ many, kernel @ limit, atol=1e-12)
    numpy.testing.assert_allclose(between @ many, between @ limit, atol=1e-12)


def test_predictions_vanish_in_the_limit_of_truth_zero(curve):
    kernel, targets, *_ = curve
    assert not limit_ridge(kernel, targets, RIDGE, 0.0).any()
    sizes = [numpy.linalg.norm(kernel @ iterated_ridge(kernel, targets, RIDGE, 0.0, g)) for g in (10, 100, 1000, 9000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-12


@pytest.mark.parametrize("truth", [0.0, *TRUTHS])
@pytest.mark.parametrize("generations", [0, 1, 7])
def test_the_spectral_recursion_equals_the_direct_one(curve, truth, generations):
    kernel, targets, *_ = curve
    eigenvalues, vectors = numpy.linalg.eigh(kernel)
    kept = shrinkage(eigenvalues, RIDGE, truth, generations)
    direct = kernel @ iterated_ridge(kernel, targets, RIDGE, truth, generations)
    numpy.testing.assert_allclose(vectors @ (kept[:, None] * (vectors.T @ targets)), direct, atol=1e-10)


def test_shrinkage_worked_by_hand():
    one = numpy.array([1.0])  # b = 1 / (1 + 1) = 1/2, then 1/2 (1/2 * 1/2 + 1/2) = 3/8, then 1/2 (1/2 * 3/8 + 1/2)
    assert [shrinkage(one, 1.0, 0.5, g).item() for g in range(3)] == [0.5, 0.375, 0.34375]


@pytest.mark.parametrize("generation", [1, 2, 5])
def test_the_best_truth_is_the_brute_force_minimiser(curve, generation):
    kernel, targets, between, clean = curve
    regular = kernel + 1e-2 * numpy.eye(40)
    before = kernel @ iterated_ridge(kernel, targets, 1e-2, 0.4, generation - 1)
    first = between @ numpy.linalg.solve(regular, targets)
    again = between @ numpy.linalg.solve(regular, before)
    best = best_truth(first, again, clean)

    def refitted(truth):
        return between @ numpy.linalg.solve(regular, mix(targets, before, truth))

    grid = best + numpy.linspace(-1, 1, 2001)
    errors = [((refitted(truth) - clean) ** 2).sum() for truth in grid]
    assert grid[int(numpy.argmin(errors))] == pytest.approx(best, abs=1e-3)
    for truth in (-0.5, 0.0, 0.3, best, 1.0):
        numpy.testing.assert_allclose(refitted(truth), truth * first + (1 - truth) * again, atol=1e-9)


def test_the_best_truth_may_be_outside_zero_and_one():
    first, again = numpy.array([[1.0]]), numpy.array([[0.5]])
    assert best_truth(first, again, numpy.array([[0.0]])) == -1.0
    assert best_truth(first, again, numpy.array([[1.5]])) == 2.0
    assert best_truth(first, again, numpy.array([[0.75]])) == 0.5
    assert best_truth(first, first, again) == 1.0


def test_with_truth_zero_predictions_and_effective_rank_shrink(curve):
    kernel, targets, *_ = curve
    eigenvalues = numpy.linalg.eigvalsh(kernel).clip(min=0)
    sizes = [numpy.linalg.norm(kernel @ iterated_ridge(kernel, targets, RIDGE, 0.0, g)) for g in range(12)]
    ranks = [shrinkage(eigenvalues, RIDGE, 0.0, g).sum() for g in range(12)]
    assert (numpy.diff(sizes) <= 0).all()
    assert (numpy.diff(ranks) < 0).all()


def test_with_truth_zero_the_error_falls_and_rises_and_otherwise_converges(curve):
    kernel, targets, between, clean = curve

    def errors(truth, last):
        fits = (iterated_ridge(kernel, targets, 5e-2, truth, g) for g in range(last))
        return numpy.array([((between @ fit - clean) ** 2).mean() for fit in fits])

    without, some = errors(0.0, 120), errors(0.25, 60)
    turn = int(without.argmin())
    assert 0 < turn < 119
    assert without[-1] > 1.2 * without[turn]
    assert some[-1] < some[0]
    assert numpy.ptp(some[-20:]) < 1e-6


@pytest.mark.parametrize("truth", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("generations", [0, 1, 3])
def test_generations_of_a_ridge_regression_equal_the_closed_form(training, curve, truth, generations):
    kernel, targets, *_ = curve
    driven = training()
    SelfDistillation(generations=generations, truth=truth).run(driven)
    assert len(driven.given) == generations + 1
    assert driven.given[0] is None
    expected = kernel @ iterated_ridge(kernel, targets, RIDGE, truth, generations)
    numpy.testing.assert_allclose(driven.vectors, expected, atol=1e-10)


def test_a_mix_of_unit_vectors_is_rescaled_to_unit_length(training):
    driven = training(unit=True)
    SelfDistillation(generations=2, truth=0.3).run(driven)
    for targets in driven.given[1:]:
        numpy.testing.assert_allclose(numpy.linalg.norm(targets, axis=1), 1, atol=1e-12)
    teacher = driven.setting.targets(numpy.arange(40))
    mixture = mix(teacher, smoother(driven.kernel, RIDGE) @ teacher, 0.3)
    numpy.testing.assert_allclose(
        (driven.given[1] * mixture).sum(axis=1), numpy.linalg.norm(mixture, axis=1), atol=1e-12
    )


def test_with_truth_one_the_targets_equal_the_teachers_vectors_bit_for_bit(make_setting):
    setting = make_setting()
    rows = numpy.arange(setting.texts)
    driven = RidgeTraining(setting, numpy.eye(setting.texts, dtype=numpy.float32))
    SelfDistillation(generations=2, truth=1.0).run(driven)
    for targets in driven.given[1:]:
        assert targets.dtype == numpy.float32
        assert numpy.array_equal(targets, setting.targets(rows))


def test_a_mix_that_cancels_to_zero_is_replaced_by_the_teachers_vector():
    teacher = numpy.array([[1.0, 0.0], [0.0, 1.0]], dtype=numpy.float32)
    halves = mix(teacher, numpy.array([[-1.0, 0.0], [1.0, 0.0]], dtype=numpy.float32), 0.5)
    numpy.testing.assert_allclose(rescale(halves, teacher), [[1, 0], [0.5**0.5, 0.5**0.5]], atol=1e-6)


@pytest.mark.parametrize("fields", [{"generations": -1}, {"truth": -1.0}, {"truth": 1.01}, {"truth": float("nan")}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"self_distillation:{next(iter(fields))} is .*; expected 0"):
        SelfDistillation(**fields)
