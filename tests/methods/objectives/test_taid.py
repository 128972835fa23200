"""TAID: the moving target and the schedule of the teacher's share."""

import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.taid import Taid, moving_cross_entropy


@pytest.fixture
def logits():
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(6, 9, generator=draw, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher


def gradient(student, teacher, share):
    (found,) = torch.autograd.grad(moving_cross_entropy(student, teacher, share).sum(), student)
    return found


def test_at_share_0_the_gradient_is_zero(logits):
    assert gradient(*logits, 0.0).abs().max() < 1e-15


def test_at_share_1_the_gradient_equals_that_of_forward_kl(logits):
    student, teacher = logits
    divergence = torch.nn.functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="sum")
    (expected,) = torch.autograd.grad(divergence, student)
    assert torch.allclose(gradient(student, teacher, 1.0), expected)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.7, 1.0])
def test_the_gradient_is_the_students_distribution_minus_the_target(share, logits):
    student, teacher = logits
    expected = student.softmax(-1) - ((1 - share) * student + share * teacher).softmax(-1)
    assert torch.allclose(gradient(student, teacher, share), expected, atol=1e-12)


def test_the_mix_of_logits_is_the_geometric_mean_of_distributions(logits):
    student, teacher = logits
    mean = student.softmax(-1) ** 0.6 * teacher.softmax(-1) ** 0.4
    mix = mean / mean.sum(dim=-1, keepdim=True)
    expected = -(mix.detach() * student.log_softmax(-1)).sum(dim=-1)
    assert torch.allclose(moving_cross_entropy(student, teacher, 0.4), expected)


def shares(method, setting, losses, state=None):
    state = state or method.build(setting)
    found = []
    for loss in losses:
        method.after_step(None, {"taid": torch.full((4,), loss)}, state)
        found.append(float(state.share))
    return found, state


def test_the_share_rises_from_the_ramp_to_at_most_1(make_setting):
    method, losses = Taid(count=8, rate=0.2, momentum=0.5), [3 - 0.02 * i + 0.5 * (-1) ** i for i in range(100)]
    found, _ = shares(method, make_setting(steps=100), losses)
    assert found == sorted(found)
    assert 0.994 < found[-1] <= 1.0
    assert all(share >= 0.4 + 0.6 * i / 100 - 1e-12 for i, share in enumerate(found))
    assert any(share > 0.4 + 0.6 * i / 100 + 1e-3 for i, share in enumerate(found))


def test_without_adaptivity_the_share_is_the_ramp(make_setting):
    found, _ = shares(Taid(count=8, adaptive=False), make_setting(steps=10), [1.0] * 10)
    assert found == pytest.approx([0.4 + 0.06 * i for i in range(10)])


def test_two_steps_worked_by_hand(make_setting):
    found, state = shares(Taid(count=8, rate=0.5, momentum=0.9), make_setting(steps=1000), [2.0, 1.0])
    first = 0.4
    trend = 0.1 * (2.0 - 1.0) / 2.0
    second = first + 0.5 / (1 + 2.718281828459045**-trend) * (1 - first)
    assert found == pytest.approx([first, second])
    assert float(state.trend) == pytest.approx(trend)


def test_a_resumed_schedule_continues(make_setting):
    method, setting, losses = Taid(count=8, rate=0.1), make_setting(steps=20), [3 / (i + 1) for i in range(20)]
    whole, _ = shares(method, setting, losses)
    _, state = shares(method, setting, losses[:7])
    later = method.build(setting)
    later.load_state_dict(state.state_dict())
    rest, _ = shares(method, setting, losses[7:], later)
    assert rest == whole[7:]


def test_the_schedule_is_stored_in_double_precision(make_setting):
    kept = Taid(count=8).build(make_setting()).state_dict()
    assert {kept[name].dtype for name in ("share", "previous", "trend", "step")} == {torch.float64}


def test_the_loss_uses_the_current_share(make_setting, make_batch):
    setting = make_setting()
    method, batch = Taid(count=8, start=0.3), make_batch()
    state = method.build(setting)
    logits = [state.anchors.logits(vectors) for vectors in (batch.student, batch.teacher)]
    assert torch.allclose(method.terms(batch, state)["taid"], moving_cross_entropy(*logits, 0.3))


@pytest.mark.parametrize("fields", [{"start": 1.5}, {"rate": -0.1}, {"momentum": 2.0}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=r"taid:.* is .*; expected 0 to 1"):
        Taid(**fields)
