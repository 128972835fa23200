"""FIRST: calibration of the teacher and the divergence over its largest probabilities."""

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.candidates import choices
from leafkit.methods.objectives.first import First, fit_tau, kept_divergence


def draw(rows, count, seed, scale=1.0):
    return scale * torch.randn(rows, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def logs():
    return draw(6, 9, 0).log_softmax(-1).requires_grad_(), draw(6, 9, 1, 2.0).log_softmax(-1)


def full_divergence(student, teacher):
    return torch.nn.functional.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)


@pytest.mark.parametrize("rest", [True, False])
@pytest.mark.parametrize("most", [9, 20])
def test_with_all_items_kept_the_loss_is_the_full_divergence(logs, rest, most):
    assert torch.allclose(kept_divergence(*logs, most, rest=rest), full_divergence(*logs))


@pytest.mark.parametrize("rest", [True, False])
def test_a_student_equal_to_the_teacher_on_the_kept_items_has_neither_loss_nor_gradient(logs, rest):
    teacher = logs[1]
    kept = teacher.topk(3, dim=-1).indices
    # The student spreads the rest differently; without the rest it may also keep another mass in total.
    rest_mass = (1 - teacher.exp().gather(1, kept).sum(1, keepdim=True)) / 6
    student = rest_mass.log().expand(6, 9).scatter(1, kept, teacher.gather(1, kept) + (0 if rest else 0.7))
    student = student.clone().requires_grad_()
    loss = kept_divergence(student.log_softmax(-1), teacher, 3, rest=rest)
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    assert loss.abs().max() < 1e-12
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("most", [1, 3, 8])
def test_with_the_rest_the_loss_is_a_lower_bound_of_the_full_divergence(logs, most):
    bound = kept_divergence(*logs, most, rest=True)
    assert (bound <= full_divergence(*logs) + 1e-12).all()
    assert (bound > 0).all()


def test_the_bound_is_reached_where_both_spread_the_rest_alike(logs):
    student, teacher = logs
    kept = teacher.topk(3, dim=-1).indices
    alike = teacher.scatter(1, kept, student.detach().gather(1, kept)).log_softmax(-1)
    assert torch.allclose(kept_divergence(alike, teacher, 3, rest=True), full_divergence(alike, teacher))
    assert (kept_divergence(student, teacher, 3, rest=True) < full_divergence(student, teacher) - 1e-3).all()


def test_without_the_rest_a_value_worked_by_hand():
    teacher = torch.tensor([[0.6, 0.2, 0.15, 0.05]]).log()
    student = torch.tensor([[0.3, 0.3, 0.1, 0.3]]).log()
    expected = 0.75 * numpy.log(0.75 / 0.5) + 0.25 * numpy.log(0.25 / 0.5)
    assert float(kept_divergence(student, teacher, 2, rest=False)) == pytest.approx(expected, abs=1e-6)


def test_a_temperature_on_the_kept_probabilities_is_a_temperature_on_their_logits(logs):
    p = logs[1].exp().gather(1, logs[1].topk(4, dim=-1).indices)
    powered = p ** (1 / 2.5)
    powered = powered / powered.sum(-1, keepdim=True)
    assert torch.allclose((p.log() / 2.5).softmax(-1), powered)


def test_tau_changes_confidence_but_not_the_order_of_the_kept_items(logs):
    for tau in (0.2, 3.0):
        changed = (logs[1] / tau).log_softmax(-1)
        assert torch.equal(changed.topk(3, dim=-1).indices, logs[1].topk(3, dim=-1).indices)
        assert ((changed.amax(-1) > logs[1].amax(-1)) == (tau < 1)).all()


def nll(logits, gold, tau):
    return float(-((logits / tau).softmax(-1) * gold).sum(-1).log().mean())


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_fitted_tau_never_has_a_higher_nll_than_one(scale):
    logits = draw(40, 5, 2, scale)
    gold = torch.nn.functional.one_hot(draw(40, 5, 3).argmax(-1), 5).bool()
    assert nll(logits, gold, fit_tau(logits, gold)) <= nll(logits, gold, 1.0)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_tau_that_the_labels_were_drawn_with_is_found(true):
    logits = draw(20_000, 6, 4, 2.0)
    label = torch.multinomial((logits / true).softmax(-1), 1, generator=torch.Generator().manual_seed(5))[:, 0]
    tau = fit_tau(logits, torch.nn.functional.one_hot(label, 6).bool())
    assert tau == pytest.approx(true, rel=0.06)


def test_several_right_answers_count_together():
    logits = draw(30, 6, 6)
    gold = torch.zeros(30, 6, dtype=torch.bool)
    gold[:, [0, 3]] = True
    grid = [2 ** (step / 20) for step in range(-100, 101)]
    assert fit_tau(logits, gold) == min(grid, key=lambda tau: nll(logits, gold, tau))


@pytest.mark.parametrize("anchors", ["labels", "pairs"])
def test_tau_is_fitted_on_the_reserved_texts_alone(anchors, make_setting):
    method = First(anchors=anchors, **{**First.small, "calibration": 8})
    rows = method.reserve(make_setting())
    state = method.build(make_setting(reserved=rows))
    asked = choices(state.items, torch.from_numpy(rows), torch.from_numpy(make_setting().labels[rows]))
    assert asked.known.all()
    expected = fit_tau(asked.logits(torch.from_numpy(make_setting().targets(rows))), asked.gold)
    assert float(state.tau) == pytest.approx(expected)
    assert float(state.tau) != 1.0


def test_class_means_do_not_know_the_reserved_texts(make_setting):
    method = First(**First.small)
    rows = method.reserve(make_setting())
    state, setting = method.build(make_setting(reserved=rows)), make_setting()
    others = numpy.setdiff1d(numpy.flatnonzero(setting.labels == 2), rows)
    mean = setting.targets(others).mean(axis=0)
    assert numpy.allclose(state.items.centres[2].numpy(), mean / numpy.linalg.norm(mean), atol=1e-6)


@pytest.mark.parametrize("anchors", ["labels", "pairs", "clusters"])
def test_the_loss_is_that_of_the_calibrated_teacher(anchors, make_setting, make_batch):
    method = First(anchors=anchors, count=8, most=3, calibration=0)
    state, batch = method.build(make_setting()), make_batch()
    state.tau.fill_(2.0)
    asked = choices(state.items, batch.rows, batch.labels)
    teacher = (asked.logits(batch.teacher) / 2).log_softmax(-1)
    expected = kept_divergence(asked.logits(batch.student).log_softmax(-1), teacher, 3, rest=True)
    loss = method.terms(batch, state)["first"]
    assert torch.allclose(loss[asked.listed], expected[asked.listed])
    assert not loss[~asked.listed].any()
    assert asked.listed.sum() == (2 if anchors == "pairs" else 8)


def test_needs_and_reserve_follow_the_fields(make_setting):
    assert First().needs == {"labels"}
    assert First(anchors="pairs").needs == {"pairs"}
    assert not First(anchors="texts", calibration=0).needs
    assert len(First(calibration=30).reserve(make_setting())) == 30
    for off in (First(calibration=0), First(weight=0)):
        assert not len(off.reserve(make_setting()))


@pytest.mark.parametrize("fields", [{"count": 1}, {"most": 0}, {"calibration": -1}, {"anchors": "words"}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"first:{next(iter(fields))} is .*; expected"):
        First(**fields)


def test_plans_that_cannot_work_are_refused_before_encoding(make_setting):
    with pytest.raises(OptionError, match="needs texts of at least two classes"):
        First().check(make_setting(labels=numpy.zeros(120, numpy.int64)))
    with pytest.raises(OptionError, match="cannot calibrate on anchors=clusters"):
        First(anchors="clusters")
    with pytest.raises(OptionError, match="first:calibration is 200; expected at most 60"):
        First().check(make_setting())
    with pytest.raises(OptionError, match="first:count is 64; expected 2 to 60"):
        First(anchors="pairs").check(make_setting())
