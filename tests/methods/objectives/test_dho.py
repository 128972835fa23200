"""DHO: two heads with separate losses, the reserved labelled texts, and the one linear head that is shipped."""

from dataclasses import replace

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.objectives.dho import MIXES, Dho, choose_mix, mixed
from leafkit.students.head import Linear


def draw(*shape, seed=0):
    return numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)


def head(seed, dim=8, width=6):
    return Linear(weight=draw(dim, width, seed=seed), bias=draw(dim, seed=seed + 50), penalty=0.1)


def built(make_setting, method=None, **fields):
    method, setting = method or Dho(reserved=0.25), make_setting(**fields)
    setting = replace(setting, reserved=method.reserve(setting))
    return method, method.build(setting), setting


def few_labels(texts=120, every=5):
    """A class for every fifth text, none for the others."""
    rows = numpy.arange(texts)
    return numpy.where(rows % every == 0, rows // every % 4, -1)


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_the_ends_of_the_mix_are_the_two_heads(mix):
    second, first = head(0), head(1)
    got, expected = mixed(second, first, mix), (first, second)[int(mix)]
    numpy.testing.assert_allclose(got.weight, expected.weight)
    numpy.testing.assert_allclose(got.bias, expected.bias)


def test_the_mix_of_equal_heads_is_that_head():
    for mix in MIXES:
        numpy.testing.assert_allclose(mixed(head(0), head(0), mix).weight, head(0).weight, rtol=1e-5)


def test_no_gradient_crosses_between_the_heads(make_setting, make_batch):
    method, state, _ = built(make_setting)
    batch = make_batch()
    terms = method.terms(batch, state)
    own, student = list(state.head.parameters()), [batch.raw]

    def gradients(name, tensors):
        return torch.autograd.grad(terms[name].sum(), tensors, retain_graph=True, allow_unused=True)

    assert gradients("kd", own) == (None, None)
    assert gradients("class", student) == (None,)
    assert all(gradient.norm() > 0 for gradient in gradients("class", own))
    assert gradients("kd", student)[0].norm() > 0
    assert gradients("class", [batch.hidden])[0].norm() > 0


def test_the_shipped_head_scores_documents_as_the_mixed_scores_and_as_the_concatenated_vectors_do():
    second, first, hidden, documents, mix = head(0), head(1), draw(5, 6, seed=2), draw(7, 8, seed=3), 0.3
    scores = mixed(second, first, mix).apply(hidden) @ documents.T
    numpy.testing.assert_allclose(
        scores, mix * second.apply(hidden) @ documents.T + (1 - mix) * first.apply(hidden) @ documents.T, rtol=1e-4
    )
    joined = numpy.hstack([mix**0.5 * second.apply(hidden), (1 - mix) ** 0.5 * first.apply(hidden)])
    twice = numpy.hstack([mix**0.5 * documents, (1 - mix) ** 0.5 * documents])
    numpy.testing.assert_allclose(scores, joined @ twice.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_chosen_mix_is_never_worse_than_either_head(seed):
    labels = numpy.random.default_rng(seed).integers(4, size=40)
    truth = numpy.eye(4)[labels]
    second, first = truth + 1.5 * draw(40, 4, seed=seed), truth + 1.2 * draw(40, 4, seed=seed + 9)

    def accuracy(scores):
        return (scores.argmax(axis=1) == labels).mean()

    mix = choose_mix(second, first, labels)
    chosen = accuracy(mix * second + (1 - mix) * first)
    assert chosen == max(accuracy(a * second + (1 - a) * first) for a in MIXES)
    assert chosen >= max(accuracy(second), accuracy(first))


def test_of_equally_good_mixes_the_middle_one_is_chosen():
    scores = numpy.eye(3, dtype=numpy.float32)
    assert choose_mix(scores, scores, numpy.arange(3)) == 0.5
    # The first head is wrong about one text, which the mix gets right from a share of 0.5 on.
    assert choose_mix(scores, scores[[1, 1, 2]], numpy.arange(3)) == 0.75


def test_from_its_start_the_second_head_writes_the_teachers_class_vectors_and_logits(make_setting, make_batch):
    setting = make_setting(width=8)
    method, state, _ = built(make_setting, width=8, hidden=setting.targets)
    rows = numpy.arange(0, 120, 7)
    teacher = torch.from_numpy(setting.targets(rows))
    batch = make_batch(rows, setting=setting, hidden=teacher)
    expected = state.anchors.logits(teacher)
    torch.testing.assert_close(state.class_logits(batch), expected, rtol=1e-3, atol=1e-3)
    # A class vector as input comes out as that class vector.
    centres = state.anchors.centres
    torch.testing.assert_close(state.head(centres), centres, rtol=1e-3, atol=1e-3)
    kept = numpy.setdiff1d(numpy.arange(120), method.reserve(setting))
    own = setting.targets(kept)[setting.labels[kept] == 2].mean(axis=0)
    numpy.testing.assert_allclose(centres[2], own / numpy.linalg.norm(own), rtol=1e-4)


def test_the_terms_are_cross_entropy_on_labelled_texts_and_a_divergence_on_all(make_setting, make_batch):
    method = Dho(share=0.25, temperature=3)
    _, state, setting = built(make_setting, method, labels=few_labels())
    batch = make_batch(range(10), setting=setting)
    terms = method.terms(batch, state)
    labelled = setting.texts / (24 - len(setting.reserved))
    logits = state.class_logits(batch).detach().double()
    expected = [
        0.25 * labelled * float(logits[row].logsumexp(0) - logits[row, label]) if label >= 0 else 0.0
        for row, label in enumerate(batch.labels.tolist())
    ]
    numpy.testing.assert_allclose(terms["class"].detach().numpy(), expected, rtol=1e-4)
    p, q = ((state.anchors.logits(side) / 3).softmax(-1).detach().numpy() for side in (batch.teacher, batch.student))
    numpy.testing.assert_allclose(
        terms["kd"].detach().numpy(), 0.75 * 9 * (p * numpy.log(p / q)).sum(axis=1), rtol=1e-3, atol=1e-5
    )


def test_a_share_of_every_class_is_reserved_and_never_all_of_it(make_setting):
    setting = make_setting(labels=few_labels())
    rows = Dho(reserved=0.4).reserve(setting)
    assert numpy.bincount(setting.labels[rows]).tolist() == [2, 2, 2, 2]
    assert (numpy.diff(rows) > 0).all()
    single = make_setting(labels=numpy.where(numpy.arange(120) < 4, numpy.arange(120) % 4, -1))
    assert len(Dho(reserved=0.9).reserve(single)) == 0


@pytest.mark.parametrize("method", [Dho(heads="one"), Dho(weight=0), Dho(reserved=0)])
def test_one_head_and_weight_zero_reserve_nothing(method, make_setting):
    assert len(method.reserve(make_setting())) == 0


def test_classes_are_learned_from_texts_that_are_not_reserved(make_setting):
    method = Dho(reserved=0.5)
    _, state, setting = built(make_setting, method, labels=few_labels())
    changed = setting.targets(numpy.arange(120)).copy()
    changed[setting.reserved] *= -1
    _, other, _ = built(make_setting, method, labels=few_labels(), targets=lambda rows: changed[rows])
    assert len(setting.reserved) == 12
    assert torch.equal(state.anchors.centres, other.anchors.centres)
    assert float(state.factor) == 10


def test_the_mix_is_chosen_from_the_reserved_texts_as_the_student_reads_them_at_the_end(make_setting):
    hidden = {"now": draw(120, 6)}
    method, state, setting = built(make_setting, labels=few_labels(), hidden=lambda rows: hidden["now"][rows])
    first, centres = head(1), state.anchors.centres.numpy()
    for seed in (4, 5, 6):
        hidden["now"] = draw(120, 6, seed=seed)
        inputs, labels = hidden["now"][setting.reserved], setting.labels[setting.reserved]
        second = replace(first, weight=state.head.weight.detach().numpy(), bias=state.head.bias.detach().numpy())
        mix = choose_mix(second.apply(inputs) @ centres.T, first.apply(inputs) @ centres.T, labels)
        numpy.testing.assert_array_equal(method.finish(state, first).weight, mixed(second, first, mix).weight)


def test_without_reserved_texts_the_mix_is_the_given_one(make_setting):
    method, state, _ = built(make_setting, Dho(reserved=0, mix=0.2))
    first = head(1)
    expected = 0.2 * state.head.weight.detach().numpy() + 0.8 * first.weight
    numpy.testing.assert_allclose(method.finish(state, first).weight, expected, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_the_shipped_head_gives_the_mix_of_the_logits_that_were_trained(bias, make_setting, make_batch):
    method, state, _ = built(make_setting, Dho(reserved=0, mix=0.2), head_bias=bias)
    batch, first = make_batch(), head(1)
    if not bias:
        first = replace(first, bias=numpy.zeros(8, numpy.float32))
    with torch.no_grad():
        # As if trained: away from the start, with a bias wherever there is one.
        for parameter in state.head.parameters():
            parameter += 0.5
    hidden = batch.hidden.detach().numpy()
    scores = state.anchors.centres.numpy().T / float(state.anchors.temperature)
    expected = 0.2 * state.class_logits(batch).detach().numpy() + 0.8 * first.apply(hidden) @ scores
    shipped = method.finish(state, first)
    numpy.testing.assert_allclose(shipped.apply(hidden) @ scores, expected, rtol=1e-4, atol=1e-4)
    # A student's head without a bias could not keep one.
    assert bool(shipped.bias.any()) == bias


@pytest.mark.parametrize("fields", [{"heads": "one"}, {"weight": 0}])
def test_one_head_ships_the_students_own(fields, make_setting):
    method, state, _ = built(make_setting, Dho(**fields))
    first = head(1)
    assert method.finish(state, first) is first


def test_one_head_learns_both_losses(make_setting, make_batch):
    method, state, _ = built(make_setting, Dho(heads="one"))
    batch = make_batch()
    terms = method.terms(batch, state)
    for loss in terms.values():
        assert torch.autograd.grad(loss.sum(), [batch.raw], retain_graph=True)[0].norm() > 0


def test_texts_of_one_class_are_refused(make_setting):
    with pytest.raises(OptionError, match="dho needs labelled texts of at least two classes, but got 1"):
        Dho().check(make_setting(labels=numpy.zeros(120, dtype=int)))


@pytest.mark.parametrize("fields", [{"share": 2}, {"temperature": 0}, {"heads": "3"}, {"reserved": 1}, {"mix": -1}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"dho:{next(iter(fields))} is .*; expected"):
        Dho(**fields)
