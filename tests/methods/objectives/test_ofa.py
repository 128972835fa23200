"""OFA: the enhanced target, and the branches of the stages."""

import math

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.ofa import Ofa, enhanced, stage_layers, weighted_cross_entropy

EXPONENTS = [1.0, 1.2, 1.5, 2.0, 4.0]


def distribution(seed, rows=6, count=5):
    draw = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(rows, count, generator=draw, dtype=torch.float64), dim=-1)


def mask(rows=6, count=5):
    return torch.eye(count, dtype=torch.float64)[torch.arange(rows) % count]


def entropy(p):
    return -(p * p.log()).sum(dim=-1)


def test_with_exponent_one_the_loss_is_the_cross_entropy_with_the_teacher():
    p, q = distribution(0), distribution(1)
    assert torch.allclose(enhanced(p, mask(), 1.0), p)
    divergence = (p * (p / q).log()).sum(dim=-1)
    assert torch.allclose(weighted_cross_entropy(q.log() + 3, enhanced(p, mask(), 1.0)), divergence + entropy(p))


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_gradient_is_the_students_probability_times_the_total_weight_minus_the_weights(exponent):
    weights = enhanced(distribution(0), mask(), exponent)
    logits = distribution(1).log().requires_grad_()
    weighted_cross_entropy(logits, weights).sum().backward()
    assert torch.allclose(logits.grad, weights.sum(dim=-1, keepdim=True) * distribution(1) - weights)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_the_best_distribution_is_the_normalised_weights(exponent):
    weights = enhanced(distribution(0), mask(), exponent)
    best = (weights / weights.sum(dim=-1, keepdim=True)).log().requires_grad_()
    loss = weighted_cross_entropy(best, weights)
    loss.sum().backward()
    assert torch.allclose(best.grad, torch.zeros_like(best), atol=1e-12)
    for seed in range(5):
        assert (weighted_cross_entropy(distribution(seed).log(), weights) >= loss - 1e-12).all()


@pytest.mark.parametrize("target", [0.02, 0.1, 0.3, 0.6])
def test_the_weight_of_the_class_grows_with_the_exponent(target):
    others = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64) * (1 - target)
    p, one = torch.cat([torch.tensor([target], dtype=torch.float64), others])[None], mask(1)
    weights = [enhanced(p, one, exponent) for exponent in EXPONENTS]
    shares = [float(w[0, 0] / w.sum()) for w in weights]
    assert shares == sorted(set(shares))
    assert shares[0] == pytest.approx(target)
    for exponent, w in zip(EXPONENTS, weights, strict=True):
        assert float(w[0, 0]) == pytest.approx((1 + target) ** exponent - 1)
        assert torch.allclose(w[0, 1:], others**exponent)
        assert exponent == 1 or (w[0, 1:] < others).all()


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_without_a_class_the_loss_is_cross_entropy_with_the_sharpened_teacher(exponent):
    p, q = distribution(0), distribution(1)
    found = weighted_cross_entropy(q.log(), enhanced(p, torch.zeros_like(p), exponent))
    assert torch.allclose(found, -(p**exponent * q.log()).sum(dim=-1))


def test_hand_values():
    p, one = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])
    assert enhanced(p, one, 2.0).tolist() == [[1.25, 0.25]]
    assert weighted_cross_entropy(torch.zeros(1, 2), enhanced(p, one, 2.0)).item() == pytest.approx(1.5 * math.log(2))


@pytest.mark.parametrize("exponent", [1.0, 1.5])
def test_without_stages_only_the_final_term_remains(exponent, make_setting, make_batch):
    method, batch = Ofa(stages=0, exponent=exponent, count=9), make_batch()
    state = method.build(make_setting())
    teacher, student = (torch.softmax(state.anchors.logits(v), dim=-1) for v in (batch.teacher, batch.student))
    weights = enhanced(teacher, torch.eye(9)[teacher.argmax(dim=1)], exponent)
    terms = method.terms(batch, state)
    assert list(terms) == ["final"]
    assert list(state.parameters()) == []
    assert torch.allclose(terms["final"], -(weights * student.log()).sum(dim=1), atol=1e-5)


def test_stages_add_terms_without_changing_the_final_term(make_setting, make_batch):
    setting, batch = make_setting(), make_batch()
    alone, all_stages = Ofa(stages=0), Ofa()
    plain = alone.terms(batch, alone.build(setting))["final"]
    terms = all_stages.terms(batch, all_stages.build(setting))
    assert list(terms) == ["final", "layer_0", "layer_1", "layer_2"]
    assert torch.equal(terms["final"], plain)


def test_each_branch_reads_only_its_own_layer(make_setting, make_batch):
    method, batch = Ofa(), make_batch()
    state = method.build(make_setting())
    for name, loss in method.terms(batch, state).items():
        gradients = torch.autograd.grad(loss.sum(), [batch.raw, *batch.layers], retain_graph=True, allow_unused=True)
        reached = [gradient is not None and bool(gradient.abs().sum() > 0) for gradient in gradients]
        assert reached == [name == place for place in ("final", "layer_0", "layer_1", "layer_2")]


def test_the_label_of_a_text_is_enhanced(make_setting, make_batch):
    method, setting = Ofa(anchors="labels", stages=0, exponent=2.0), make_setting()
    state, batch = method.build(setting), make_batch()
    p = torch.softmax(state.anchors.logits(batch.teacher), dim=-1)
    assert not torch.equal(p.argmax(dim=1), batch.labels)
    expected = weighted_cross_entropy(
        state.anchors.logits(batch.student), enhanced(p, torch.eye(4)[batch.labels], method.exponent)
    )
    assert torch.allclose(method.terms(batch, state)["final"], expected)


@pytest.mark.parametrize(
    ("depth", "stages", "layers"),
    [(12, 4, [2, 5, 8, 11]), (6, 4, [1, 2, 4, 5]), (4, 4, [0, 1, 2, 3]), (2, 4, [0, 1]), (1, 4, [0]), (6, 0, [])],
)
def test_stages_are_equally_spaced_and_use_each_layer_once(depth, stages, layers):
    assert stage_layers(depth, stages) == layers


def test_branches_learn_the_teachers_distribution(make_setting, make_batch):
    method, drawn = Ofa(exponent=1.0, anchors="labels"), make_batch()
    batch = make_batch(student=drawn.student.detach())
    torch.manual_seed(0)
    state = method.build(make_setting())
    optimiser = torch.optim.Adam(state.parameters(), lr=0.02)
    for _ in range(200):
        terms = method.terms(batch, state)
        optimiser.zero_grad()
        sum(loss.sum() for loss in terms.values()).backward()
        optimiser.step()
    floor = entropy(torch.softmax(state.anchors.logits(batch.teacher), dim=-1))
    for layer in range(3):
        assert (terms[f"layer_{layer}"] >= floor - 1e-5).all()
        assert float((terms[f"layer_{layer}"].detach() - floor).mean()) < 0.05


def test_branches_are_restored_from_the_state(make_setting, make_batch):
    method, batch = Ofa(), make_batch()
    state, other = method.build(make_setting()), method.build(make_setting(seed=1))
    before, wrong = method.terms(batch, state), method.terms(batch, other)
    assert not any(torch.equal(before[name], wrong[name]) for name in before)
    other.load_state_dict(state.state_dict())
    after = method.terms(batch, other)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("rows", [range(1), range(8)])
def test_the_loss_is_finite_in_bfloat16_and_for_one_text(rows, make_setting, make_batch):
    method = Ofa()
    state, batch = method.build(make_setting()), make_batch(rows, dtype=torch.bfloat16)
    losses = torch.stack(list(method.terms(batch, state).values()))
    losses.sum().backward()
    assert losses.shape == (4, len(rows))
    assert losses.isfinite().all()
    assert all(part.grad.isfinite().all() for part in (batch.raw, *batch.layers))


def test_a_student_without_layers_is_refused(make_setting):
    with pytest.raises(OptionError, match="ofa reads the layers of the student, but a token table has none"):
        Ofa().check(make_setting(depth=0))
    assert "layers" in Ofa().needs


def test_without_stages_a_token_table_can_train(make_setting, make_batch):
    setting, ofa = make_setting(depth=0), Ofa(stages=0, count=8)
    ofa.check(setting)
    assert not ofa.needs
    assert set(ofa.terms(make_batch(setting=setting), ofa.build(setting))) == {"final"}


def test_branches_start_at_their_ridge_solution(make_setting, make_batch):
    setting = make_setting()
    wide = setting.targets(numpy.arange(setting.texts)) @ random_matrix(8, 60)

    def batch(rows):
        layer = torch.from_numpy(wide[rows])
        return make_batch(rows, setting=setting, layers=(layer, layer, layer))

    setting = make_setting(width=60, batch=batch)
    ofa = Ofa(count=8, exponent=1)
    state = ofa.build(setting)
    terms = ofa.terms(batch(numpy.arange(20)), state)
    # For a teacher that is matched, cross-entropy is the teacher's entropy.
    chances = state.anchors.logits(batch(numpy.arange(20)).teacher).softmax(dim=-1)
    entropy = -(chances * chances.log()).sum(dim=-1).mean()
    for layer in ("layer_0", "layer_1", "layer_2"):
        assert terms[layer].mean() - entropy < 0.2 * (math.log(8) - entropy)


def random_matrix(*shape):
    return numpy.random.default_rng(0).standard_normal(shape).astype(numpy.float32)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("exponent", 0.9, "1 or more"),
        ("exponent", math.inf, "1 or more"),
        ("stages", -1, "0 or more"),
        ("anchors", "words", "clusters, labels or texts"),
        ("count", 1, "2 or more"),
    ],
)
def test_invalid_options_are_refused(field, value, expected):
    with pytest.raises(OptionError, match=f"ofa:{field} is .*; expected {expected}"):
        Ofa(**{field: value})
