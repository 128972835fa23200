"""ND: the loss on norm and direction, and the directions of classes."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from leafkit.errors import OptionError
from leafkit.methods.objectives.nd import Nd, norm_and_direction


def vectors(seed, norm, rows=9, dim=5):
    draw = torch.Generator().manual_seed(seed)
    return norm * normalize(torch.randn(rows, dim, generator=draw, dtype=torch.float64), dim=-1)


@pytest.fixture
def teacher():
    return vectors(0, 2.0)


@pytest.fixture
def directions():
    return vectors(1, 1.0)


def slope(student, teacher, directions):
    """Return the loss and its derivative along the student's own direction."""
    student = student.clone().requires_grad_()
    loss = norm_and_direction(student, teacher, directions)
    loss.sum().backward()
    return loss.detach(), (student.grad * normalize(student.detach(), dim=-1)).sum(dim=-1)


@pytest.mark.parametrize("norm", [2.001, 3.0, 50.0])
def test_above_the_teachers_norm_the_loss_is_one_minus_cosine(norm, teacher, directions):
    student = vectors(2, norm)
    loss, radial = slope(student, teacher, directions)
    assert torch.allclose(loss, 1 - cosine_similarity(student, directions, dim=-1))
    assert torch.allclose(radial, torch.zeros_like(radial), atol=1e-12)


@pytest.mark.parametrize("norm", [0.1, 1.0, 1.999])
def test_below_the_teachers_norm_a_vector_with_positive_cosine_grows(norm, teacher, directions):
    student = vectors(2, norm)
    cosine = cosine_similarity(student, directions, dim=-1)
    loss, radial = slope(student, teacher, directions)
    assert (cosine > 0).any()
    assert (cosine < 0).any()
    assert torch.allclose(loss, 1 - norm / 2 * cosine)
    assert torch.allclose(radial, -cosine / 2)


def test_the_loss_is_between_zero_and_two(teacher, directions):
    for norm in (0.0, 1.0, 2.0, 9.0):
        for student in (norm * directions, -norm * directions, vectors(3, norm)):
            loss = norm_and_direction(student, teacher, directions)
            assert loss.min() >= -1e-12
            assert loss.max() <= 2 + 1e-12
    assert torch.allclose(norm_and_direction(3 * directions, teacher, directions), torch.zeros(9, dtype=torch.float64))
    assert torch.allclose(norm_and_direction(-3 * directions, teacher, directions), 2 * torch.ones(9).double())


def test_scaling_changes_the_loss_only_below_the_teachers_norm(teacher, directions):
    student = vectors(2, 2.5)
    loss = norm_and_direction(student, teacher, directions)
    assert torch.allclose(norm_and_direction(4 * student, teacher, directions), loss)
    assert not torch.allclose(norm_and_direction(student / 4, teacher, directions), loss)


def test_the_loss_is_continuous_at_equal_norms(teacher, directions):
    below, at, above = (norm_and_direction(vectors(2, 2 + step), teacher, directions) for step in (-1e-9, 0, 1e-9))
    assert torch.allclose(below, at, rtol=0, atol=1e-8)
    assert torch.allclose(above, at, rtol=0, atol=1e-8)


def test_a_perfect_student_is_still_pulled_to_its_class(teacher, directions):
    loss, _ = slope(teacher, teacher, directions)
    assert torch.allclose(loss, 1 - cosine_similarity(teacher, directions, dim=-1))
    assert (loss > 0.1).any()


def test_neither_teacher_nor_direction_gets_a_gradient(teacher, directions):
    parts = [vectors(2, 1.0).requires_grad_(), teacher.requires_grad_(), directions.requires_grad_()]
    norm_and_direction(*parts).sum().backward()
    assert parts[0].grad.abs().sum() > 0
    assert parts[1].grad is None
    assert parts[2].grad is None


def test_hand_values():
    student, teacher = (
        torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 10.0], [1.0, 0.0], [0.0, 0.0]]),
    )
    direction = torch.tensor([[1.0, 0.0]]).expand(3, 2)
    assert norm_and_direction(student, teacher, direction).tolist() == pytest.approx([0.7, 0.4, 1.0])


def test_the_direction_is_the_mean_of_the_class(make_setting, make_batch):
    setting, method = make_setting(), Nd(anchors="labels")
    state, batch = method.build(setting), make_batch()
    everyone = torch.from_numpy(setting.targets(range(120)))
    means = torch.stack([normalize(everyone[label::4].mean(dim=0), dim=-1) for label in range(4)])
    assert torch.allclose(state.centres, means, atol=1e-6)
    expected = norm_and_direction(batch.raw, batch.teacher, means[batch.labels])
    assert torch.allclose(method.terms(batch, state)["nd"], expected, atol=1e-6)


def test_without_a_label_the_direction_is_the_nearest_anchor(make_setting, make_batch):
    batch = make_batch(labels=torch.full((8,), -1))
    for method in (Nd(anchors="labels"), Nd(count=7)):
        state = method.build(make_setting())
        nearest = state.centres[(batch.teacher @ state.centres.T).argmax(dim=1)]
        expected = norm_and_direction(batch.raw, batch.teacher, nearest)
        assert torch.allclose(method.terms(batch, state)["nd"], expected)


def test_the_loss_uses_the_vector_before_normalisation(make_setting, make_batch):
    method, batch = Nd(count=7), make_batch()
    state = method.build(make_setting())
    loss = method.terms(batch, state)["nd"]
    short = make_batch(raw=0.01 * batch.raw.detach(), student=batch.student)
    assert ((method.terms(short, state)["nd"] - 1).abs() < (loss - 1).abs()).all()
    assert torch.autograd.grad(loss.sum(), batch.student, allow_unused=True) == (None,)


@pytest.mark.parametrize("rows", [range(1), range(8)])
def test_the_loss_is_finite_in_bfloat16_and_for_a_zero_vector(rows, make_setting, make_batch):
    method = Nd()
    state = method.build(make_setting())
    raw = torch.zeros(len(rows), 8, dtype=torch.bfloat16).requires_grad_()
    loss = method.terms(make_batch(rows, dtype=torch.bfloat16, raw=raw), state)["nd"]
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert torch.equal(loss, torch.ones(len(rows)))
    assert raw.grad.isfinite().all()


def test_invalid_options_are_refused(make_setting):
    with pytest.raises(OptionError, match="nd:anchors is 'texts'; expected clusters or labels"):
        Nd(anchors="texts")
    with pytest.raises(OptionError, match="nd:count is 1; expected 2 or more"):
        Nd(count=1)
    with pytest.raises(OptionError, match="at least two classes"):
        Nd(anchors="labels").build(make_setting(labels=make_setting().labels * 0 - 1))
