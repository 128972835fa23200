"""DHKD: the binary divergences, the second head and the alignment of gradients."""

import math

import numpy
import pytest
import torch
from torch.nn.functional import normalize

from leafkit.errors import OptionError
from leafkit.methods.objectives.dhkd import Dhkd, aligned, base_gradient, binary_kl, binary_kl_norm
from leafkit.methods.objectives.leaf import Leaf

TEMPERATURES = [0.5, 2.0, 4.0]


def logits(seed, spread=3.0):
    draw = torch.Generator().manual_seed(seed)
    return spread * torch.randn(6, 5, generator=draw, dtype=torch.float64)


def gradient(divergence, student, teacher, temperature):
    student = student.clone().requires_grad_()
    divergence(student, teacher, temperature).sum().backward()
    return student.grad


def bernoulli(p, q):
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()


@pytest.fixture
def two_heads(make_batch):
    """A batch whose vectors come from its hidden states through a head, and that head."""

    def make(rows=range(8), **fields):
        plain = make_batch(rows, **fields)
        head = torch.nn.Linear(plain.hidden.shape[1], plain.teacher.shape[1])
        raw = head(plain.hidden)
        return make_batch(rows, hidden=plain.hidden, raw=raw, student=normalize(raw, dim=-1)), head

    return make


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_binary_kl_norm_equals_the_bernoulli_divergence(temperature):
    difference = logits(0) - logits(1)
    found = binary_kl_norm(logits(0), logits(1), temperature)
    coin = bernoulli(torch.tensor(0.5, dtype=torch.float64), torch.sigmoid(difference / temperature))
    assert torch.allclose(found, temperature**2 * coin)
    assert torch.allclose(found, temperature**2 * (difference / (2 * temperature)).cosh().log())


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_gradient_of_binary_kl_norm_is_a_hyperbolic_tangent(temperature):
    expected = temperature / 2 * torch.tanh((logits(0) - logits(1)) / (2 * temperature))
    assert torch.allclose(gradient(binary_kl_norm, logits(0), logits(1), temperature), expected)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_small_difference_costs_one_eighth_of_its_square(temperature):
    small = 1e-3 * logits(0)
    assert torch.allclose(binary_kl_norm(logits(1) + small, logits(1), temperature), small.square() / 8, rtol=1e-4)


def test_a_large_difference_costs_linearly_and_stays_finite():
    far = torch.tensor([1e4, -1e4])
    assert torch.allclose(binary_kl_norm(far, torch.zeros(2), 2.0), torch.full((2,), 4 * (1e4 / 4 - math.log(2))))
    assert binary_kl(far, -far, 2.0).isfinite().all()


@pytest.mark.parametrize("divergence", [binary_kl_norm, binary_kl])
def test_the_loss_is_zero_only_for_equal_logits(divergence):
    same = divergence(logits(0), logits(0), 2.0)
    assert torch.allclose(same, torch.zeros_like(same), atol=1e-12)
    assert (divergence(logits(0) + 0.1, logits(0), 2.0) > 1e-5).all()


def test_binary_kl_norm_ignores_a_shared_mean():
    mean = logits(2)[:1]
    shifted = binary_kl_norm(logits(0) - mean, logits(1) - mean, 2.0)
    assert torch.allclose(shifted, binary_kl_norm(logits(0), logits(1), 2.0))


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_binary_kl_equals_the_divergence_of_two_bernoulli_variables(temperature):
    ours, theirs = torch.sigmoid(logits(0) / temperature), torch.sigmoid(logits(1) / temperature)
    found = binary_kl(logits(0), logits(1), temperature)
    assert torch.allclose(found, temperature**2 * bernoulli(theirs, ours))
    assert torch.allclose(gradient(binary_kl, logits(0), logits(1), temperature), temperature * (ours - theirs))


def test_hand_values():
    one, zero = torch.tensor([2.0]), torch.tensor([0.0])
    assert binary_kl_norm(one, zero, 1.0).item() == pytest.approx(math.log(math.cosh(1.0)))
    assert binary_kl(zero, zero + math.log(3), 1.0).item() == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6
    )


@pytest.mark.parametrize("loss", ["binary_kl_norm", "binary_kl"])
def test_the_loss_of_a_text_is_the_mean_over_its_anchors(loss, make_setting, make_batch):
    method, batch = Dhkd(loss=loss, count=9), make_batch()
    state = method.build(make_setting())
    divergence = {"binary_kl_norm": binary_kl_norm, "binary_kl": binary_kl}[loss]
    each = divergence(state.logits(batch.hidden), state.anchors.logits(batch.teacher), 2.0)
    assert each.shape == (8, 9)
    assert torch.allclose(method.terms(batch, state)["dhkd"], each.mean(dim=1))


@pytest.mark.parametrize("align", [False, True])
def test_each_head_gets_only_its_own_gradient_and_the_trunk_gets_both(align, make_setting, two_heads):
    method = Dhkd(anchors="labels", align=align)
    state, (batch, shipped) = method.build(make_setting()), two_heads()
    first, second = [*shipped.parameters(), batch.raw, batch.student], list(state.parameters())
    ours, theirs = method.terms(batch, state)["dhkd"].sum(), Leaf().terms(batch)["leaf"].sum()
    alone = {"retain_graph": True, "allow_unused": True}
    assert all(part is None for part in torch.autograd.grad(ours, first, **alone))
    assert all(part is None for part in torch.autograd.grad(theirs, second, **alone))
    assert all(part.abs().sum() > 0 for part in torch.autograd.grad(ours, [*second, batch.hidden], **alone))
    assert all(part.abs().sum() > 0 for part in torch.autograd.grad(theirs, [*first, batch.hidden], **alone))


def test_an_aligned_gradient_never_opposes_the_base_gradient():
    ours, base = logits(0), logits(1)
    before, after = (ours * base).sum(dim=-1), (aligned(ours, base) * base).sum(dim=-1)
    opposed = before < 0
    assert 0 < opposed.sum() < len(opposed)
    assert torch.allclose(after[opposed], torch.zeros_like(after[opposed]), atol=1e-12)
    assert torch.equal(aligned(ours, base)[~opposed], ours[~opposed])


def test_alignment_removes_only_the_component_along_the_base_gradient():
    ours, base = (
        torch.tensor([[-3.0, 4.0], [3.0, 4.0], [-3.0, 4.0]]),
        torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 0.0]]),
    )
    assert aligned(ours, base).tolist() == [[0.0, 4.0], [3.0, 4.0], [-3.0, 4.0]]
    assert torch.allclose(aligned(ours, 1e-3 * base), aligned(ours, base))


def test_with_alignment_the_trunk_gets_the_aligned_gradient(make_setting, two_heads):
    setting = make_setting()
    batch, _ = two_heads(range(40))
    found = {}
    for align in (False, True):
        torch.manual_seed(0)
        method = Dhkd(align=align)
        state = method.build(setting)
        loss = method.terms(batch, state)["dhkd"].sum()
        found[align] = torch.autograd.grad(loss, [batch.hidden, *state.parameters()], retain_graph=True)
    base = base_gradient(batch)
    assert ((found[False][0] * base).sum(dim=-1) < 0).any()
    assert torch.allclose(found[True][0], aligned(found[False][0], base))
    assert all(torch.equal(*pair) for pair in zip(found[False][1:], found[True][1:], strict=True))


def test_alignment_does_not_change_the_gradient_of_leaf(make_setting, two_heads):
    batch, _ = two_heads()
    method = Dhkd(align=True)
    state = method.build(make_setting())
    expected = base_gradient(batch)
    kd = torch.autograd.grad(method.terms(batch, state)["dhkd"].sum(), batch.hidden, retain_graph=True)[0]
    (method.terms(batch, state)["dhkd"].sum() + Leaf().terms(batch)["leaf"].sum()).backward()
    assert torch.allclose(batch.hidden.grad, expected + kd, atol=1e-6)


def test_training_the_second_head_does_not_change_the_students_vectors(make_setting, two_heads):
    method = Dhkd()
    state, (batch, shipped) = method.build(make_setting()), two_heads()
    optimiser = torch.optim.AdamW(state.parameters(), lr=0.1)
    before = method.terms(batch, state)["dhkd"].mean()
    before.backward()
    optimiser.step()
    assert method.terms(batch, state)["dhkd"].mean() < before
    assert torch.equal(normalize(shipped(batch.hidden), dim=-1), batch.student)


@pytest.mark.parametrize("units", [0, 5])
def test_the_second_head_is_restored_from_the_state(units, make_setting, make_batch):
    method, batch = Dhkd(units=units), make_batch()
    state, other = method.build(make_setting()), method.build(make_setting(seed=1))
    assert not torch.equal(method.terms(batch, state)["dhkd"], method.terms(batch, other)["dhkd"])
    other.load_state_dict(state.state_dict())
    assert torch.equal(method.terms(batch, state)["dhkd"], method.terms(batch, other)["dhkd"])


@pytest.mark.parametrize("rows", [range(1), range(8)])
@pytest.mark.parametrize("align", [False, True])
def test_losses_are_finite_in_bfloat16_and_independent_of_other_texts(rows, align, make_setting, make_batch):
    method = Dhkd(align=align)
    state, batch = method.build(make_setting()), make_batch(rows, dtype=torch.bfloat16)
    loss = method.terms(batch, state)["dhkd"]
    loss.sum().backward()
    assert loss.isfinite().all()
    assert batch.hidden.grad.isfinite().all()
    alone = make_batch(rows, hidden=batch.hidden.detach()[:1], teacher=batch.teacher[:1])
    assert torch.allclose(method.terms(alone, state)["dhkd"], loss[:1], atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("loss", "kl", "binary_kl_norm or binary_kl"),
        ("temperature", 0.0, "more than 0"),
        ("temperature", math.nan, "more than 0"),
        ("units", -1, "0 for a linear head"),
        ("anchors", "words", "clusters, labels or texts"),
        ("count", 1, "2 or more"),
    ],
)
def test_invalid_options_are_refused(field, value, expected):
    with pytest.raises(OptionError, match=f"dhkd:{field} is .*; expected {expected}"):
        Dhkd(**{field: value})


def test_one_head_takes_the_loss_on_the_students_own_vectors(make_setting, two_heads):
    dhkd = Dhkd(heads="one", count=8)
    state = dhkd.build(make_setting())
    batch, head = two_heads()
    logits_of = state.anchors.logits
    expected = binary_kl_norm(logits_of(batch.student), logits_of(batch.teacher), 2.0).mean(dim=-1)
    loss = dhkd.terms(batch, state)["dhkd"]
    assert torch.equal(loss, expected)
    loss.sum().backward()
    assert head.weight.grad.abs().sum() > 0
    assert not list(state.parameters())


@pytest.mark.parametrize("units", [0, 200])
def test_the_second_head_starts_at_its_ridge_solution(units, make_setting, make_batch):
    setting = make_setting()
    # States from which a linear map finds the teacher's vectors.
    setting = make_setting(width=8, hidden=lambda rows: 3 * setting.targets(rows)[:, ::-1].copy())
    rows = range(20)
    batch = make_batch(rows, setting=setting, hidden=torch.from_numpy(setting.hidden(numpy.arange(20))))
    dhkd = Dhkd(units=units, count=8)
    state = dhkd.build(setting)
    started = dhkd.terms(batch, state)["dhkd"].mean()
    torch.nn.init.normal_(state.last.weight)
    assert started < 0.02 * dhkd.terms(batch, state)["dhkd"].mean()


def test_alignment_needs_two_heads():
    with pytest.raises(OptionError, match="dhkd:align is True; expected false with heads=one"):
        Dhkd(heads="one", align=True)
