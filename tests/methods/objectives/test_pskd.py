"""PS-KD: the softened target and the stored predictions."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from leafkit.errors import OptionError
from leafkit.methods.objectives.ofa import weighted_cross_entropy
from leafkit.methods.objectives.pskd import Pskd, softened
from leafkit.methods.plan import make_plan

ALPHAS = [0.0, 0.16, 0.5, 0.8, 1.0]


def logits(seed, rows):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mix(alpha, rows=6):
    """Logits of a student, classes, past predictions and the softened target, in double precision."""
    classes, past = one_hot(torch.arange(rows) % 5, 5).double(), torch.softmax(logits(1, rows), dim=-1)
    return logits(0, rows).requires_grad_(), classes, past, softened(classes, past, alpha)


def run(method, state, batches):
    for batch in batches:
        with torch.no_grad():
            method.after_step(batch, {}, state)


def test_alpha_zero_is_plain_cross_entropy_in_every_epoch(make_setting, make_batch):
    method, batch = Pskd(alpha=0.0, anchors="labels"), make_batch()
    state = method.build(make_setting())
    run(method, state, [make_batch() for _ in range(40)])
    assert state.step == 40
    expected = cross_entropy(state.anchors.logits(batch.student), batch.labels, reduction="none")
    assert torch.allclose(method.terms(batch, state)["pskd"], expected)


def test_the_first_epoch_is_plain_cross_entropy(make_setting, make_batch):
    method, setting = Pskd(alpha=1.0, anchors="labels"), make_setting()
    state = method.build(setting)
    for first in (0, 8, 16, 24):
        batch = make_batch(range(first, first + 8))
        expected = cross_entropy(state.anchors.logits(batch.student), batch.labels, reduction="none")
        assert torch.allclose(method.terms(batch, state)["pskd"], expected)
        run(method, state, [batch])


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_gradient_is_the_mix_of_class_and_past_gradients(alpha):
    student, classes, past, target = mix(alpha)
    weighted_cross_entropy(student, target).sum().backward()
    q = torch.softmax(student.detach(), dim=-1)
    assert torch.allclose(student.grad, (1 - alpha) * (q - classes) + alpha * (q - past))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_past_predictions_damp_the_gradient_as_the_paper_says(alpha):
    student, classes, past, target = mix(alpha, rows=2000)
    weighted_cross_entropy(student, target).sum().backward()
    q, own = torch.softmax(student.detach(), dim=-1), classes.bool()
    # The law holds for texts whose other classes all have at least alpha times their past probability.
    fits = ((q >= alpha * past) | own).all(dim=-1)
    ratio = student.grad.abs().sum(dim=-1) / (q - classes).abs().sum(dim=-1)
    expected = 1 - alpha * (1 - past[own]) / (1 - q[own])
    assert fits.sum() > 20
    assert torch.allclose(ratio[fits], expected[fits])
    assert (expected[fits] >= -1e-12).all()


def test_the_damping_is_alpha_at_equal_confidence_and_small_for_a_less_confident_student():
    past = torch.tensor([[0.96, 0.02, 0.02]], dtype=torch.float64)
    classes, alpha = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), 0.8

    def ratio(q):
        student = torch.tensor([q], dtype=torch.float64).log().requires_grad_()
        weighted_cross_entropy(student, softened(classes, past, alpha)).sum().backward()
        return float(student.grad.abs().sum() / (torch.tensor([q]) - classes).abs().sum())

    assert ratio([0.96, 0.02, 0.02]) == pytest.approx(1 - alpha)
    assert ratio([0.04, 0.48, 0.48]) == pytest.approx(1 - alpha * 0.04 / 0.96)


def test_the_share_of_the_past_grows_to_alpha_over_the_epochs(make_setting):
    method = Pskd()
    state = method.build(make_setting(steps=60, epoch_steps=15))
    values = []
    for step in range(60):
        state.step.fill_(step)
        values.append(float(state.alpha_now(method.alpha)))
    assert values == pytest.approx([0.8 * (1 + step // 15) / 4 for step in range(60)])
    state.step.fill_(75)
    assert float(state.alpha_now(method.alpha)) == pytest.approx(0.8)


@pytest.mark.parametrize(("steps", "epochs"), [(15, 1), (16, 2), (100, 7), (5, 1)])
def test_a_partial_last_epoch_ends_the_ramp_at_alpha(steps, epochs, make_setting):
    state = Pskd().build(make_setting(steps=steps, epoch_steps=15))
    assert float(state.alpha_now(0.8)) == pytest.approx(0.8 / epochs)
    state.step.fill_(steps - 1)
    assert float(state.alpha_now(0.8)) == pytest.approx(0.8)


def test_the_target_contains_the_prediction_of_the_previous_epoch(make_setting, make_batch):
    method, setting = Pskd(anchors="labels"), make_setting(steps=30, epoch_steps=15)
    state = method.build(setting)
    first = [make_batch(range(start, start + 8)) for start in range(0, 120, 8)]
    run(method, state, first)
    said = torch.cat([torch.softmax(state.anchors.logits(batch.student.detach()), dim=-1) for batch in first])
    rows = [77, 3, 40, 119, 8, 0, 52, 31]
    batch = make_batch(rows)
    expected = 0.2 * one_hot(batch.labels, 4) + 0.8 * said[rows]
    assert torch.allclose(state.targets(batch, method.alpha), expected, atol=1e-3)
    found = method.terms(batch, state)["pskd"]
    log_q = state.anchors.logits(batch.student).log_softmax(dim=-1)
    assert torch.allclose(found, -(state.targets(batch, 0.8) * log_q).sum(dim=-1))


def test_stored_predictions_do_not_depend_on_order_or_batches(make_setting, make_batch):
    method, setting = Pskd(), make_setting()
    vectors = torch.nn.functional.normalize(torch.randn(120, 8), dim=-1)
    memories = []
    for seed, size in ((0, 8), (1, 8), (2, 1), (3, 50)):
        state = method.build(setting)
        order = torch.randperm(120, generator=torch.Generator().manual_seed(seed))
        run(method, state, [make_batch(rows.tolist(), student=vectors[rows]) for rows in order.split(size)])
        assert state.seen.all()
        memories.append(state.past.float())
    for memory in memories[1:]:
        assert torch.allclose(memory, memories[0], atol=1e-3)


def test_a_later_prediction_replaces_an_earlier_one(make_setting, make_batch):
    method = Pskd()
    state = method.build(make_setting())
    old, new = (make_batch([5], student=torch.eye(8)[place : place + 1]) for place in (0, 1))
    run(method, state, [old, new])
    expected = torch.softmax(state.anchors.logits(new.student), dim=-1)
    assert torch.allclose(state.past[[5]].float(), expected, atol=1e-3)
    assert state.seen.sum() == 1


def test_the_state_restores_past_predictions(make_setting, make_batch):
    method, setting = Pskd(), make_setting(steps=30, epoch_steps=2)
    whole = method.build(setting)
    run(method, whole, [make_batch(), make_batch(range(8, 16)), make_batch(range(4, 12))])
    resumed = method.build(setting)
    resumed.load_state_dict({name: tensor.clone() for name, tensor in whole.state_dict().items()})
    assert {name: t.dtype for name, t in resumed.state_dict().items()}["past"] == torch.float16
    for batch in (make_batch(), make_batch(range(10, 20))):
        assert torch.equal(method.terms(batch, resumed)["pskd"], method.terms(batch, whole)["pskd"])
        run(method, resumed, [batch])
        run(method, whole, [batch])
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor)


def test_stored_predictions_are_rescaled_to_sum_to_one(make_setting, make_batch):
    method, setting = Pskd(alpha=1.0), make_setting(steps=1, epoch_steps=1)
    state = method.build(setting)
    run(method, state, [make_batch(range(120))])
    sums = state.targets(make_batch(range(120)), 1.0).sum(dim=-1)
    assert torch.allclose(sums, torch.ones(120), atol=1e-6)


def test_targets_carry_no_gradient_and_unlabelled_texts_get_the_nearest_anchor(make_setting, make_batch):
    method = Pskd(anchors="labels")
    state, batch = method.build(make_setting()), make_batch(labels=torch.full((8,), -1))
    run(method, state, [batch])
    target = state.targets(batch, 0.0)
    assert not state.targets(batch, 0.8).requires_grad
    assert torch.equal(target.argmax(dim=-1), state.anchors.logits(batch.teacher).argmax(dim=-1))


def test_hand_values():
    classes, past = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.25, 0.75]])
    assert softened(classes, past, 0.4).tolist() == [pytest.approx([0.7, 0.3])]
    assert weighted_cross_entropy(torch.zeros(1, 2), softened(classes, past, 0.4)).item() == pytest.approx(math.log(2))


def test_invalid_options_are_refused():
    for name, value, words in (
        ("alpha", 1.1, "0 to 1"),
        ("alpha", -0.1, "0 to 1"),
        ("anchors", "words", "clusters, labels or texts"),
        ("count", 1, "2 or more"),
    ):
        with pytest.raises(OptionError, match=f"pskd:{name} is .*; expected {words}"):
            Pskd(**{name: value})


def test_a_feed_that_mixes_texts_is_refused():
    with pytest.raises(OptionError, match="pskd stores what it knows of each text"):
        make_plan(["leaf", "pskd"], ["mixup"])
