import numpy
import pytest
from sklearn.linear_model import Ridge

from leafkit.students.head import PENALTIES, fit_head


def data(rows=300, width=6, dim=9, noise=0.0, seed=0):
    draw = numpy.random.default_rng(seed)
    features = (draw.standard_normal((rows, width)) + 3).astype(numpy.float32)
    targets = features @ draw.standard_normal((width, dim)) + draw.standard_normal(dim)
    return features, (targets + noise * draw.standard_normal(targets.shape)).astype(numpy.float32)


def predict(head, features):
    return features @ head.weight.T + head.bias


def test_targets_that_are_linear_in_the_features_are_matched_exactly():
    features, targets = data()
    head = fit_head(features, targets)
    assert predict(head, features) == pytest.approx(targets, abs=1e-3)
    assert head.penalty == min(PENALTIES)


def test_the_solution_is_that_of_scikit_learn():
    features, targets = data(noise=2.0)
    head = fit_head(features, targets)
    centred = features.astype(float) - features.astype(float).mean(axis=0)
    rival = Ridge(alpha=head.penalty * (centred**2).sum() / centred.shape[1]).fit(features.astype(float), targets)
    assert head.weight == pytest.approx(rival.coef_, abs=1e-5)
    assert head.bias == pytest.approx(rival.intercept_, abs=1e-4)


def test_without_a_bias_the_solution_is_that_of_scikit_learn_through_the_origin():
    features, targets = data(noise=2.0)
    head = fit_head(features, targets, bias=False)
    alpha = head.penalty * (features.astype(float) ** 2).sum() / features.shape[1]
    rival = Ridge(alpha=alpha, fit_intercept=False).fit(features.astype(float), targets)
    assert head.weight == pytest.approx(rival.coef_, abs=1e-5)
    assert not head.bias.any()


def test_more_noise_gets_a_larger_penalty():
    features, targets = data(rows=40, width=30, noise=50.0)
    assert fit_head(features, targets).penalty > fit_head(*data(rows=40, width=30)).penalty


def test_a_rotated_teacher_gets_the_rotated_head():
    features, targets = data(noise=0.5)
    rotation = numpy.linalg.qr(numpy.random.default_rng(1).standard_normal((9, 9)))[0].astype(numpy.float32)
    one, other = fit_head(features, targets), fit_head(features, targets @ rotation)
    assert predict(one, features) @ rotation == pytest.approx(predict(other, features), abs=1e-3)


def test_features_that_never_vary_and_single_rows_give_the_mean():
    features, targets = numpy.ones((5, 3), numpy.float32), data(rows=5)[1]
    assert predict(fit_head(features, targets), features) == pytest.approx(
        numpy.broadcast_to(targets.mean(axis=0), targets.shape), abs=1e-4
    )
    assert predict(fit_head(features[:1], targets[:1]), features[:1]) == pytest.approx(targets[:1], abs=1e-4)


def test_pure_noise_has_a_held_out_cosine_near_zero():
    """The penalty is judged on rows that were not fitted: fitted rows of noise have a cosine of 0.3 and more."""
    draw = numpy.random.default_rng(0)
    features, targets = (draw.standard_normal((300, 64)).astype(numpy.float32) for _ in range(2))
    for bias in (True, False):
        assert abs(fit_head(features, targets, bias=bias).cosine) < 0.15
