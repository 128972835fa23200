"""TGeo-KD: the figures of the triangle, the ratio, and the step of its network."""

import dataclasses

import numpy
import pytest
import torch
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.candidates import choices, gold_cross_entropy
from leafkit.methods.objectives.leaf import Leaf
from leafkit.methods.objectives.tgeo import FIGURES, Tgeo, initial_weights, ratio

FORMS = ("labels", "pairs")
PAIRED = range(0, 120, 6)


def small(**fields):
    return Tgeo(**{**Tgeo.small, "validation": 8, **fields})


def double(batch):
    """The batch in float64, with the graph from ``raw`` to ``student``."""
    raw = batch.raw.detach().double().requires_grad_()
    hidden, teacher = batch.hidden.detach().double(), batch.teacher.double()
    return dataclasses.replace(batch, raw=raw, student=normalize(raw, dim=-1), hidden=hidden, teacher=teacher)


@pytest.fixture
def built(make_setting):
    """Build the method of one form with a reserve; returns method, setting and state."""

    def build(truth, **fields):
        method = small(truth=truth, **fields)
        setting = make_setting(reserved=method.reserve(make_setting()))
        torch.manual_seed(0)
        return method, setting, method.build(setting)

    return build


@pytest.mark.parametrize("truth", FORMS)
@pytest.mark.parametrize("imitation", ["leaf", "kl"])
def test_a_constant_ratio_is_the_fixed_weighted_sum_bit_for_bit(truth, imitation, built, make_batch):
    method, _, state = built(truth, learn=False, alpha=0.25, imitation=imitation)
    batch = make_batch(PAIRED)
    teacher, right = method.losses(batch, choices(state.items, batch.rows, batch.labels))
    terms = method.terms(batch, state)
    assert torch.equal(terms["teacher"] + terms["truth"], 0.25 * teacher + 0.75 * right)


def test_the_losses_that_are_fused_are_leaf_or_kl_and_cross_entropy(built, make_batch):
    method, _, state = built("labels", imitation="kl")
    batch = make_batch()
    logits, target = (state.items.logits(side) for side in (batch.student, batch.teacher))
    teacher, truth = method.losses(batch, choices(state.items, batch.rows, batch.labels))
    cross = torch.nn.functional.cross_entropy
    assert torch.allclose(teacher, cross(logits, target.softmax(-1), reduction="none"))
    assert torch.allclose(truth, cross(logits, batch.labels, reduction="none"))
    leaf = dataclasses.replace(method, imitation="leaf")
    distance = leaf.losses(batch, choices(state.items, batch.rows, batch.labels))[0]
    assert torch.equal(distance, Leaf().terms(batch)["leaf"])


def test_the_ratio_starts_at_alpha_and_stays_inside_its_bounds():
    torch.manual_seed(0)
    weights = initial_weights(0.3)
    figures = 4 * torch.rand(50, FIGURES)
    assert torch.allclose(ratio(weights, figures), torch.full((50,), 0.3), atol=1e-6)
    wild = ratio(100 * torch.randn(weights.shape), figures)
    assert ((wild >= 0.05) & (wild <= 0.95)).all()
    assert wild.std() > 0.1


def test_the_network_equals_one_of_torch():
    torch.manual_seed(1)
    weights = initial_weights(0.5) + 0.1 * torch.randn(len(initial_weights(0.5)))
    linear = [torch.nn.Linear(*sizes) for sizes in ((FIGURES, 32), (32, 16), (16, 1))]
    parts = weights.split([size.numel() for layer in linear for size in (layer.weight, layer.bias)])
    with torch.no_grad():
        for place, layer in enumerate(linear):
            layer.weight.copy_(parts[2 * place].view_as(layer.weight))
            layer.bias.copy_(parts[2 * place + 1])
        figures, slope = torch.rand(9, FIGURES), torch.nn.LeakyReLU()
        network = torch.nn.Sequential(linear[0], slope, linear[1], slope, linear[2])
        expected = 0.05 + 0.9 * torch.sigmoid(network(figures)[:, 0])
    assert torch.allclose(ratio(weights, figures), expected, atol=1e-6)


@pytest.mark.parametrize("truth", FORMS)
def test_a_student_at_the_teacher_has_no_edge_to_it(truth, built, make_batch):
    _, _, state = built(truth)
    batch = make_batch(PAIRED)
    same = state.figures(dataclasses.replace(batch, student=batch.teacher))
    assert not same[:, 0].any()
    assert torch.equal(same[:, 1], same[:, 2])
    assert torch.equal(same[:, 6], same[:, 7])
    assert (state.figures(batch)[:, 0] > 0.01).all()


def test_the_points_of_lists_are_the_answer_and_the_mean_query_of_its_cluster(built, make_batch):
    _, setting, state = built("pairs", clusters=2)
    batch = make_batch(PAIRED)
    figures = state.figures(batch).numpy()
    answer = setting.targets(batch.rows.numpy() + 1)
    assert numpy.allclose(figures[:, 1], 2 - 2 * (batch.teacher.numpy() * answer).sum(axis=1), atol=1e-5)
    logits = state.items.logits(batch.student, state.items.lists)
    assert numpy.allclose(figures[:, 6], (logits.softmax(-1) * state.items.gold).sum(-1).detach().numpy(), atol=1e-5)
    typical = state.typical.numpy()
    assert len(numpy.unique(typical.round(4), axis=0)) == 2
    group = (typical == typical[0]).all(axis=1) & ~numpy.isin(batch.rows.numpy(), setting.reserved)
    mean = batch.teacher.numpy()[group].mean(axis=0)
    assert numpy.allclose(typical[0], mean / numpy.linalg.norm(mean), atol=1e-5)


def test_the_points_of_classes_are_one_hot_and_the_teachers_mean_prediction(built):
    _, setting, state = built("labels")
    rows = numpy.setdiff1d(numpy.flatnonzero(setting.labels == 1), setting.reserved)
    mean = state.items.logits(torch.from_numpy(setting.targets(rows))).softmax(-1).mean(0)
    assert torch.allclose(state.typical[1], mean, atol=1e-6)
    assert torch.equal(state.truth, torch.eye(4))


def step_length(method, batch, valid):
    return method.ahead * valid.raw.norm(dim=1).mean().detach() / (batch.hidden.square().sum(1).mean() + 1).sqrt()


def stepped_head(method, state, weights, batch, valid):
    """The validation loss after a step of gradient descent of a real linear head; a rival of `Tgeo.outer_loss`."""
    torch.manual_seed(3)
    head = torch.nn.Linear(batch.hidden.shape[1], batch.raw.shape[1]).double()
    sides = [
        dataclasses.replace(side, raw=(raw := head(side.hidden)), student=normalize(raw, dim=-1))
        for side in (batch, valid)
    ]
    asked = [choices(state.items, side.rows, side.labels) for side in sides]
    teacher, truth = method.losses(sides[0], asked[0])
    alpha = ratio(weights, state.figures(sides[0]))
    slopes = torch.autograd.grad((alpha * teacher + (1 - alpha) * truth).sum(), head.parameters(), retain_graph=True)
    length = sum(slope.square().sum() for slope in slopes).sqrt()
    step = step_length(method, batch, sides[1]) / length
    moved = [parameter - step * slope for parameter, slope in zip(head.parameters(), slopes, strict=True)]
    raw = torch.nn.functional.linear(valid.hidden, *moved)
    return gold_cross_entropy(asked[1].logits(raw), asked[1].gold).mean(), sides


@pytest.mark.parametrize("truth", FORMS)
@pytest.mark.parametrize("imitation", ["leaf", "kl"])
def test_the_gradient_of_the_network_equals_finite_differences_through_a_real_step(truth, imitation, built, make_batch):
    method, setting, state = built(truth, imitation=imitation, ahead=0.5)
    state = state.double()
    train = numpy.setdiff1d(list(PAIRED), setting.reserved)
    batch, valid = double(make_batch(train[:7])), double(make_batch(setting.reserved))
    torch.manual_seed(2)
    weights = (state.weights + 0.2 * torch.randn(state.weights.shape)).requires_grad_()
    loss, sides = stepped_head(method, state, weights, batch, valid)
    ours = method.outer_loss(weights, *sides, state)
    assert ours.item() == pytest.approx(loss.item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(ours, weights)
    for place in gradient.abs().topk(3).indices.tolist():
        step = torch.zeros_like(weights).index_fill_(0, torch.tensor([place]), 1e-5)
        ends = [stepped_head(method, state, weights + sign * step, batch, valid)[0].item() for sign in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(float(gradient[place]), rel=1e-3)


def test_the_hypergradient_of_a_ratio_is_the_product_of_gradients_of_a_linear_model(built, make_batch, monkeypatch):
    method, setting, state = built("labels", imitation="kl")
    state = state.double()
    batch, valid = double(make_batch(range(40, 46))), double(make_batch(setting.reserved))
    alpha = torch.full((6,), 0.4, dtype=torch.float64, requires_grad=True)
    _, sides = stepped_head(method, state, state.weights, batch, valid)
    monkeypatch.setattr("leafkit.methods.objectives.tgeo.ratio", lambda weights, figures: weights)
    method = dataclasses.replace(method, ahead=1e-6)
    (ours,) = torch.autograd.grad(method.outer_loss(alpha, *sides, state), alpha)
    asked = [choices(state.items, side.rows, side.labels) for side in sides]
    losses = method.losses(sides[0], asked[0])
    of_kd, of_truth = (torch.autograd.grad(loss.sum(), sides[0].raw, retain_graph=True)[0] for loss in losses)
    outer = gold_cross_entropy(asked[1].logits(sides[1].raw), asked[1].gold).mean()
    (of_valid,) = torch.autograd.grad(outer, sides[1].raw, retain_graph=True)

    def head_gradient(outputs, inputs):
        return torch.cat([outputs.T @ inputs, outputs.sum(0)[:, None]], dim=1)

    whole, moved = head_gradient(of_valid, valid.hidden), head_gradient(0.4 * of_kd + 0.6 * of_truth, batch.hidden)
    # The step has a fixed length, so only what is at right angles to it counts.
    whole = whole - (whole * moved).sum() / moved.square().sum() * moved
    rate = step_length(method, batch, sides[1]) / moved.norm()
    for row in range(6):
        difference = head_gradient((of_kd - of_truth)[row : row + 1], batch.hidden[row : row + 1])
        assert float(ours[row]) == pytest.approx(float(-rate * (whole * difference).sum()), rel=1e-3)


@pytest.mark.parametrize("truth", FORMS)
def test_no_reserved_text_is_trained_on_and_no_training_text_is_validated_on(truth, built, make_setting, make_batch):
    method, _, state = built(truth)
    reserved = method.reserve(make_setting())
    seen = []
    setting = make_setting(reserved=reserved, batch=lambda rows: seen.append(rows) or make_batch(rows))
    for step in (0, 5, 10):
        method.refresh(state, setting, step)
    for train, valid in zip(seen[::2], seen[1::2], strict=True):
        assert not set(train) & set(reserved)
        assert set(valid) <= set(reserved)
    assert len({tuple(rows) for rows in seen[::2]}) == 3
    if truth == "labels":
        changed = numpy.where(numpy.isin(numpy.arange(120), reserved), 3 - setting.labels, setting.labels)
        other = method.build(make_setting(reserved=reserved, labels=changed))
        assert torch.equal(other.typical, state.typical)
        assert torch.equal(other.items.centres, state.items.centres)


def test_a_refresh_moves_the_network_as_adamw_does(built):
    method, setting, state = built("labels")
    before = state.weights.clone()
    rival = torch.nn.Parameter(before.clone())
    optimiser = torch.optim.AdamW([rival], lr=0.02, weight_decay=0.05)
    for seed in range(3):
        rival.grad = torch.randn(before.shape, generator=torch.Generator().manual_seed(seed))
        optimiser.step()
        state.descend(rival.grad, 0.02)
    assert torch.allclose(state.weights, rival, atol=1e-6)
    method.refresh(state, setting, 0)
    assert int(state.updates) == 4


def test_steps_of_the_network_lower_the_outer_loss(built, make_batch):
    method, setting, state = built("labels", imitation="kl", ahead=0.5)
    train = numpy.setdiff1d(numpy.arange(60), setting.reserved)
    batch, valid = make_batch(train), make_batch(setting.reserved)
    losses = []
    for _ in range(30):
        weights = state.weights.clone().requires_grad_()
        loss = method.outer_loss(weights, batch, valid, state)
        state.descend(torch.autograd.grad(loss, weights)[0], 0.02)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 1e-3


def test_the_network_is_not_trained_by_the_students_optimiser(built, make_batch):
    method, _, state = built("labels")
    assert not list(state.parameters())
    sum(loss.sum() for loss in method.terms(make_batch(), state).values()).backward()
    assert state.weights.grad is None


def test_a_text_without_a_truth_has_the_teachers_loss_alone(built, make_batch):
    method, _, state = built("labels")
    batch = make_batch()
    batch = dataclasses.replace(batch, labels=torch.where(batch.rows == 3, -1, batch.labels))
    terms = method.terms(batch, state)
    assert torch.equal(terms["teacher"][3], Leaf().terms(batch)["leaf"][3])
    assert terms["truth"][3] == 0
    assert (terms["truth"][:3] > 0).all()


def test_needs_refresh_and_reserve_follow_the_fields(make_setting):
    assert Tgeo().needs == {"labels"}
    assert Tgeo(truth="pairs").needs == {"pairs"}
    assert small().refresh_every == 5
    assert set(small(truth="pairs").reserve(make_setting())) <= set(PAIRED)
    for off in (small(learn=False), small(weight=0)):
        assert not len(off.reserve(make_setting()))
    assert small(learn=False).refresh_every == 0


@pytest.mark.parametrize(
    "fields", [{"alpha": 0.05}, {"every": 0}, {"rate": 0}, {"ahead": -1}, {"clusters": 1}, {"truth": "words"}]
)
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"tgeo:{next(iter(fields))} is .*; expected"):
        Tgeo(**fields)


def test_a_constant_ratio_may_be_anything_from_0_to_1():
    assert Tgeo(learn=False, alpha=1.0).alpha == 1
    with pytest.raises(OptionError, match=r"tgeo:alpha is 1\.5; expected 0 to 1"):
        Tgeo(learn=False, alpha=1.5)


def test_plans_that_cannot_work_are_refused_before_encoding(make_setting):
    with pytest.raises(OptionError, match="tgeo needs labelled texts of at least two classes, but got 1"):
        Tgeo().check(make_setting(labels=numpy.zeros(120, numpy.int64)))
    with pytest.raises(OptionError, match="tgeo:validation is 200; expected at most 60"):
        Tgeo().check(make_setting())
    with pytest.raises(OptionError, match="tgeo:count is 90; expected 2 to 60"):
        small(truth="pairs", count=90).check(make_setting())
