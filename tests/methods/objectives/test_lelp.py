"""LELP: the null space of the classifier, the sub-classes and the joint loss."""

import logging
import math

import numpy
import pytest
import torch
from torch.nn.functional import normalize, one_hot

from leafkit.errors import OptionError
from leafkit.methods.objectives.lelp import Lelp, log_joint, null_projection, principal, random_rotation, split


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def divergence(target, student):
    """Return the KL divergence of log-probabilities, summed over the last dimension."""
    return (target.exp() * (target - student)).sum(dim=-1)


@pytest.fixture
def built(make_setting):
    """Return a function that makes the method and its state on labelled texts, seeded as in a training."""

    def build(setting=None, **fields):
        torch.manual_seed(0)
        method = Lelp(**{"anchors": "labels"} | fields)
        return method, method.build(setting or make_setting())

    return build


def test_sub_class_probabilities_sum_to_the_class_probability():
    classes, parts = random(7, 5), 3 * random(7, 5, 4, seed=1)
    joint = log_joint(classes, parts).exp()
    assert torch.allclose(joint.sum(dim=-1), torch.softmax(classes, dim=-1))
    assert torch.allclose(joint.sum(dim=(1, 2)), torch.ones(7, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_one_sub_class_is_plain_distillation_of_classes(temperature, built, make_batch):
    method, state = built(subclasses=1, temperature=temperature)
    batch = make_batch()
    teacher = (state.anchors.logits(batch.teacher) / temperature).log_softmax(dim=-1)
    student = (state.head(batch.hidden) / temperature).log_softmax(dim=-1)
    expected = temperature**2 * divergence(teacher, student)
    assert torch.allclose(method.terms(batch, state)["lelp"], expected, atol=1e-6)


def test_the_projection_removes_everything_that_the_classifier_reads():
    weights = random(5, 12)
    keep = null_projection(weights)
    assert torch.allclose(weights @ keep, torch.zeros(5, 12, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(keep @ keep, keep)
    assert torch.allclose(keep, keep.T)
    assert float(keep.trace()) == pytest.approx(12 - 5)
    missing = torch.cat([weights, torch.zeros(1, 12, dtype=torch.float64)])
    assert torch.allclose(null_projection(missing), keep)


def test_moves_in_the_null_space_change_only_the_projection():
    weights, vectors = random(5, 12), random(6, 12, seed=1)
    keep, moves = null_projection(weights), random(6, 12, seed=2)
    assert torch.allclose((vectors + moves @ keep) @ weights.T, vectors @ weights.T)
    assert torch.allclose((vectors + moves @ weights.T @ weights) @ keep, vectors @ keep)


@pytest.mark.parametrize("partition", ["principal", "random"])
def test_directions_are_orthonormal_and_in_the_null_space_of_the_classifier(partition, built):
    _, state = built(partition=partition)
    products = state.directions @ state.directions.mT
    assert torch.allclose(products, torch.eye(4).expand(4, 4, 4), atol=1e-5)
    assert torch.allclose(state.directions @ state.anchors.centres.T, torch.zeros(4, 4, 4), atol=1e-5)
    assert torch.allclose(state.anchors.centres @ state.keep, torch.zeros(4, 8), atol=1e-5)


def test_random_directions_are_not_the_principal_ones_and_carry_less_variance():
    points = random(400, 6) * torch.tensor([1.0, 9.0, 2.0, 0.5, 5.0, 0.1])
    torch.manual_seed(0)
    mean, directions, deviation = split(points, 2, "random")
    assert torch.allclose(mean, points.mean(dim=0))
    assert torch.allclose(deviation**2, ((points - mean) @ directions.T).square().mean())
    assert deviation < principal(points, 2)[2]
    assert torch.equal(split(points, 2, "principal")[1], principal(points, 2)[1])


def test_the_head_starts_near_the_teachers_distribution(built, make_setting, make_batch):
    setting = make_setting(width=8, hidden=lambda rows: make_setting().targets(rows))
    method, state = built(setting)
    rows = range(40)
    batch = make_batch(rows, setting=setting, hidden=torch.from_numpy(setting.hidden(numpy.arange(40))))
    started = method.terms(batch, state)["lelp"].mean()
    torch.nn.init.zeros_(state.head.weight)
    torch.nn.init.zeros_(state.head.bias)
    assert started < 0.5 * method.terms(batch, state)["lelp"].mean()


def test_principal_directions_have_the_largest_variance():
    points = random(400, 6) * torch.tensor([1.0, 9.0, 2.0, 0.5, 5.0, 0.1]) + 3
    mean, directions, deviation = principal(points, 2)
    assert torch.allclose(mean, points.mean(dim=0))
    assert directions.abs().argmax(dim=1).tolist() == [4, 1]
    variances = ((points - mean) @ directions.T).square().mean(dim=0)
    assert float(deviation) == pytest.approx(float(variances.mean().sqrt()))
    elsewhere = torch.linalg.qr(random(6, 2, seed=1))[0]
    assert ((points - mean) @ elsewhere).square().mean(dim=0).sum() < variances.sum()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_rotation_keeps_directions_orthonormal_and_their_total_variance(count):
    points = random(200, 8) * torch.arange(1, 9)
    mean, directions, _ = principal(points, count)
    torch.manual_seed(3)
    rotated = random_rotation(count) @ directions
    assert torch.allclose(rotated @ rotated.T, torch.eye(count, dtype=torch.float64))
    before, after = (((points - mean) @ some.T).square().sum() for some in (directions, rotated))
    assert torch.allclose(before, after)


def test_random_rotations_give_every_direction_the_same_variance_on_average():
    torch.manual_seed(0)
    variances = torch.tensor([10.0, 1.0, 0.5], dtype=torch.float64)
    drawn = torch.stack([random_rotation(3) for _ in range(4000)])
    assert torch.allclose((drawn.square() @ variances).mean(dim=0), variances.mean().expand(3), atol=0.2)
    assert drawn.mean(dim=0).abs().max() < 0.04
    assert torch.linalg.det(drawn).mean().abs() < 0.06


def test_the_joint_divergence_splits_into_classes_and_sub_classes():
    target = log_joint(random(7, 5), random(7, 5, 4, seed=1))
    student = log_joint(random(7, 5, seed=2), random(7, 5, 4, seed=3))
    classes, guess = target.logsumexp(dim=-1), student.logsumexp(dim=-1)
    within = divergence(target - classes[..., None], student - guess[..., None])
    expected = divergence(classes, guess) + (classes.exp() * within).sum(dim=-1)
    assert torch.allclose(divergence(target.flatten(1), student.flatten(1)), expected)


def test_the_loss_splits_into_classes_and_sub_classes(built, make_batch):
    method, state = built()
    batch = make_batch()
    joint = state.head(batch.hidden).log_softmax(dim=-1).view(8, 4, 4)
    teacher = state.anchors.logits(batch.teacher).log_softmax(dim=-1)
    classes = divergence(teacher, joint.logsumexp(dim=-1))
    parts = state.projections(batch.teacher).log_softmax(dim=-1)
    within = divergence(parts, joint - joint.logsumexp(dim=-1, keepdim=True))
    expected = classes + (teacher.exp() * within).sum(dim=-1)
    assert torch.allclose(method.terms(batch, state)["lelp"], expected, atol=1e-6)


def test_a_head_with_the_teachers_distribution_has_zero_loss_and_gradient(built, make_batch):
    method, state = built(subclass_temperature=0.3)
    batch = make_batch()
    target = log_joint(state.anchors.logits(batch.teacher), state.projections(batch.teacher) / 0.3).flatten(1)
    state.head = torch.nn.Linear(16, 16)
    state.head.load_state_dict({"weight": torch.eye(16), "bias": torch.full((16,), 5.0)})
    batch = make_batch(hidden=target.detach().requires_grad_())
    loss = method.terms(batch, state)["lelp"]
    loss.sum().backward()
    assert torch.allclose(loss, torch.zeros(8), atol=1e-5)
    assert torch.allclose(batch.hidden.grad, torch.zeros(8, 16), atol=1e-5)


def test_projections_of_a_class_are_standardised(built, make_setting):
    setting = make_setting()
    _, state = built(setting)
    found = state.projections(torch.from_numpy(setting.targets(range(120))))
    for place in range(4):
        own = found[place::4, place]
        assert torch.allclose(own.mean(dim=0), torch.zeros(4), atol=1e-5)
        assert float(own.square().mean()) == pytest.approx(1, abs=1e-4)


def test_two_clusters_in_a_class_become_different_sub_classes(built, make_setting):
    kinds = torch.arange(120) // 2 % 2
    vectors = one_hot(torch.arange(120) % 2, 8) + (2 * kinds - 1)[:, None] * one_hot(torch.tensor(5), 8)
    vectors = normalize(vectors + 0.02 * random(120, 8), dim=-1).float()
    setting = make_setting(labels=(torch.arange(120) % 2).numpy(), targets=lambda rows: vectors.numpy()[rows])
    _, state = built(setting, subclasses=2, subclass_temperature=0.1)
    own = state.projections(vectors)[torch.arange(120), torch.arange(120) % 2].argmax(dim=-1)
    for label in (0, 1):
        parts = [set(own[(torch.arange(120) % 2 == label) & (kinds == kind)].tolist()) for kind in (0, 1)]
        assert [len(part) for part in parts] == [1, 1]
        assert parts[0] != parts[1]


def test_too_many_anchors_give_a_warning_and_equal_sub_classes(built, make_batch, caplog):
    with caplog.at_level(logging.WARNING, logger="leafkit"):
        _, state = built(anchors="clusters", count=20)
    assert "leave only 0 of 8 dimensions" in caplog.text
    assert torch.equal(state.projections(make_batch().teacher), torch.zeros(8, 20, 4))


def test_a_class_without_texts_has_equal_sub_classes(built, make_setting, make_batch):
    labels = make_setting().labels
    _, state = built(make_setting(labels=labels + labels // 3))
    found = state.projections(make_batch().teacher)
    assert found.isfinite().all()
    assert torch.equal(found[:, 3], torch.zeros(8, 4))


def test_the_state_restores_the_same_sub_classes(built, make_setting, make_batch):
    method, state = built()
    torch.manual_seed(9)
    other = method.build(make_setting())
    assert not torch.allclose(other.directions, state.directions)
    other.load_state_dict(state.state_dict())
    assert torch.equal(method.terms(make_batch(), other)["lelp"], method.terms(make_batch(), state)["lelp"])
    assert [name for name, _ in state.named_parameters()] == ["head.weight", "head.bias"]


def test_hand_values():
    found = log_joint(torch.tensor([[0.0, math.log(3)]]), torch.tensor([[[0.0, 0.0], [0.0, math.log(4)]]])).exp()
    assert found[0].tolist() == [pytest.approx([0.125, 0.125]), pytest.approx([0.15, 0.6])]
    assert null_projection(torch.tensor([[3.0, 0.0]])).tolist() == [[pytest.approx(0), 0], [0, 1]]


def test_invalid_options_are_refused(make_setting):
    for name, value, words in (
        ("subclasses", 0, "1 or more"),
        ("temperature", 0.0, "more than 0"),
        ("subclass_temperature", math.inf, "more than 0"),
        ("anchors", "words", "clusters, labels or texts"),
        ("count", 1, "2 or more"),
    ):
        with pytest.raises(OptionError, match=f"lelp:{name} is .*; expected {words}"):
            Lelp(**{name: value})
    with pytest.raises(OptionError, match="lelp:subclasses is 9; expected at most 8"):
        Lelp(subclasses=9).check(make_setting())
