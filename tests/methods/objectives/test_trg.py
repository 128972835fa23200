"""TRG: the graph of words, the three terms, and what they do and do not depend on."""

import math
from dataclasses import replace

import numpy
import pytest
import torch

from leafkit.errors import OptionError
from leafkit.methods.batch import TokenStates
from leafkit.methods.objectives.trg import Trg, common_maps, contrast, graph, inner, other_cosines

TERMS = ("inner", "local", "global")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation(width):
    return torch.linalg.qr(draw(width, width, seed=5))[0]


@pytest.fixture
def trained(make_setting, make_batch):
    """Return a function that gives the terms of a batch, optionally with other token states."""
    method = Trg(words=3, neighbours=4, instance_weight=1)
    torch.manual_seed(0)
    state = method.build(make_setting())

    def terms(batch, **states):
        return method.terms(replace(batch, tokens=replace(batch.tokens, **states)), state)

    return terms


def test_equal_states_have_no_local_and_no_inner_loss(make_batch):
    batch, method = make_batch(), Trg(global_weight=0, neighbours=3)
    tokens = batch.tokens
    equal = replace(batch, tokens=replace(tokens, teacher=tokens.student.detach()))
    for name, loss in method.terms(equal, None).items():
        assert loss.abs().max() < 1e-6
        # A text of one word has no relation inside.
        assert (method.terms(batch, None)[name] > 1e-3).sum() >= 6


def test_a_rotation_changes_neither_local_nor_inner_and_a_scale_changes_inner():
    states, teacher, mask = draw(3, 5, 6), draw(3, 5, 8, seed=1), torch.ones(3, 5, dtype=torch.bool)
    turned = states @ rotation(6)
    before, after, scaled = (
        inner(TokenStates(student=each, teacher=teacher, mask=mask)) for each in (states, turned, 2 * states)
    )
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-6)
    assert ((before - scaled).abs() > 1e-3).all()
    flat, method = states.flatten(0, 1), Trg(neighbours=4)
    losses = [method.local(each, teacher.flatten(0, 1)) for each in (flat, flat @ rotation(6))]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-5)
    assert (losses[0] > 1e-3).any()


def test_constant_states_have_the_logarithm_of_the_number_of_words_as_global_loss():
    losses = contrast(torch.ones(7, 4), torch.ones(7, 4), 0.3)
    torch.testing.assert_close(losses, torch.full((7,), math.log(7)))


@pytest.mark.parametrize("seed", range(3))
def test_the_global_loss_is_that_of_a_classification_of_words(seed):
    student, teacher = draw(9, 5, seed=seed), draw(9, 5, seed=seed + 20)
    cosines = torch.cosine_similarity(student[:, None], teacher[None], dim=-1)
    expected = torch.nn.functional.cross_entropy(cosines / 0.2, torch.arange(9), reduction="none")
    got = contrast(student, teacher, 0.2)
    torch.testing.assert_close(got, expected)
    assert (got >= 0).all()
    # At a high temperature nothing is told apart.
    assert contrast(student, teacher, 1e4).sub(math.log(9)).abs().max() < 1e-3


def test_the_graph_keeps_the_nearest_words_and_scales_by_the_median():
    states = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    # Squared distances: 1, 9, 49, 4, 36, 16; torch takes the lower of the two middle ones, 9.
    weights, near = graph(states, 1)
    assert near.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    expected = torch.zeros(4, 4)
    for row, column, square in ((0, 1, 1.0), (1, 0, 1.0), (2, 1, 4.0), (3, 2, 16.0)):
        expected[row, column] = math.exp(-square / 18)
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("offset", [0, 5])
def test_the_graph_and_its_gradient_are_those_of_the_differences_of_all_words(offset):
    # Word 7 is word 3 again, as a word is that stands in two texts; ``offset`` is a direction that all words share.
    states = draw(12, 6)
    states[7] = states[3]
    states[:, 0] += offset
    one, other = states.clone().requires_grad_(), states.double().requires_grad_()
    weights, near = graph(one, 4)
    squares = (other[:, None] - other).square().sum(dim=-1)
    sigma = squares.detach()[~torch.eye(12, dtype=torch.bool)].median()
    expected = torch.exp(-squares / (2 * sigma)) * near
    torch.testing.assert_close(weights.double(), expected, rtol=1e-4, atol=1e-6)
    assert float(weights[3, 7].detach()) == pytest.approx(1, abs=1e-5)
    factors = draw(12, 12, seed=1)
    for each in ((weights * factors).sum(), (expected * factors).sum()):
        each.backward()
    torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-3, atol=1e-4)
    nearest = squares.masked_fill(torch.eye(12, dtype=torch.bool), math.inf).topk(4, largest=False).indices
    assert torch.equal(near, torch.zeros_like(near).scatter(1, nearest, True))


@pytest.mark.parametrize("restrict", [True, False])
def test_local_is_the_divergence_of_the_two_softmaxes(restrict):
    student, teacher = draw(8, 3), draw(8, 5, seed=1)
    (own, near), (expected, near_teacher) = graph(student, 2), graph(teacher, 2)
    losses = Trg(neighbours=2, restrict=restrict, sharpness=3).local(student, teacher)
    for word in range(8):
        allowed = (near | near_teacher)[word].numpy() if restrict else numpy.arange(8) != word
        q, p = (numpy.exp(3 * side[word].numpy()[allowed]) for side in (own, expected))
        q, p = q / q.sum(), p / p.sum()
        assert float(losses[word]) == pytest.approx((q * numpy.log(q / p)).sum(), rel=1e-3, abs=1e-6)


def test_inner_compares_the_attention_of_the_words_of_one_text(make_batch):
    tokens = make_batch(range(5)).tokens
    losses = inner(tokens).detach()
    for row in range(5):
        matrices = []
        for side in (tokens.student, tokens.teacher):
            words = side[row, tokens.mask[row]].detach().numpy()
            scores = numpy.exp(words @ words.T / side.shape[-1] ** 0.5)
            matrices.append(scores / scores.sum(axis=1, keepdims=True))
        expected = ((matrices[0] - matrices[1]) ** 2).sum(axis=1).mean()
        assert float(losses[row]) == pytest.approx(expected, rel=1e-4)


def test_padding_and_special_tokens_never_enter(make_batch, trained):
    batch = make_batch()
    other = ~batch.tokens.mask[..., None]
    before = trained(batch)
    after = trained(batch, student=batch.tokens.student + 9 * other, teacher=batch.tokens.teacher - 5 * other)
    for name in TERMS:
        assert (before[name] != 0).any()
        torch.testing.assert_close(after[name], before[name])


def test_the_order_of_the_texts_changes_no_term(make_batch, trained):
    batch, order = make_batch(), torch.tensor([5, 2, 7, 0, 1, 6, 4, 3])
    tokens = batch.tokens
    states = {name: value[order] for name, value in vars(tokens).items()}
    moved = replace(batch, rows=batch.rows[order], student=batch.student[order], teacher=batch.teacher[order])
    before, after = trained(batch), trained(moved, **states)
    for name in (*TERMS, "instance"):
        torch.testing.assert_close(after[name], before[name][order], rtol=1e-4, atol=1e-6)


def test_the_words_of_a_text_are_drawn_anew_at_each_step_and_are_words(make_batch):
    batch, method = make_batch(range(40)), Trg(words=2)
    drawn = [method.sampled(replace(batch, step=step), batch.tokens.mask) for step in (0, 0, 1)]
    assert torch.equal(drawn[0][1], drawn[1][1])
    assert not torch.equal(drawn[0][1], drawn[2][1])
    for owners, places in drawn:
        assert batch.tokens.mask[owners, places].all()
        assert torch.bincount(owners).tolist() == batch.tokens.mask.sum(dim=1).clamp(max=2).tolist()


def test_a_text_without_words_has_no_loss(make_batch, trained):
    batch = make_batch(range(4))
    mask = batch.tokens.mask.clone()
    mask[2] = False
    terms = trained(batch, mask=mask)
    assert all(terms[name][2] == 0 and terms[name].isfinite().all() for name in TERMS)
    terms = trained(batch, mask=torch.zeros_like(mask))
    assert not any(terms[name].any() for name in TERMS)


def test_the_temperature_falls_from_warm_to_cold():
    method = Trg(warm=0.5, cold=0.1)
    taus = [method.tau(step, 101) for step in (0, 25, 50, 100, 300)]
    assert taus[0] == pytest.approx(0.5)
    assert taus[2] == pytest.approx(0.3)
    assert taus[3] == taus[4] == pytest.approx(0.1)
    assert taus == sorted(taus, reverse=True)


def test_the_maps_to_the_common_width_start_where_both_sides_agree():
    teacher = draw(4, 30, 8)
    states = TokenStates(student=teacher @ rotation(8), teacher=teacher, mask=torch.ones(4, 30, dtype=torch.bool))
    student_map, teacher_map = common_maps(states, 5)
    assert teacher_map.out_features == 5
    torch.testing.assert_close(student_map(states.student), teacher_map(teacher), rtol=1e-2, atol=1e-2)
    variance = teacher_map(teacher).flatten(0, 1).var(dim=0)
    assert variance.sum() > 5 / 8 * teacher.flatten(0, 1).var(dim=0).sum()


def test_the_control_compares_texts_and_needs_no_tokens(make_setting, make_batch):
    method = Trg(inner_weight=0, local_weight=0, global_weight=0, instance_weight=2)
    assert method.needs == frozenset()
    assert Trg().needs == {"tokens"}
    state, batch = method.build(make_setting()), make_batch(tokens=None)
    assert not method.terms(make_batch([3], tokens=None), state)["instance"].any()
    p, q = ((other_cosines(side) / state.temperature).softmax(-1) for side in (batch.teacher, batch.student))
    expected = 2 * (p * (p / q).log()).sum(dim=1)
    torch.testing.assert_close(method.terms(batch, state)["instance"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fields", [{"words": 0}, {"neighbours": 0}, {"cold": 0}, {"inner_weight": -1}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"trg:{next(iter(fields))} is .*; expected"):
        Trg(**fields)


def test_a_method_without_a_term_and_batches_that_are_too_small_are_refused(make_setting):
    with pytest.raises(OptionError, match="trg has no term"):
        Trg(inner_weight=0, local_weight=0, global_weight=0)
    with pytest.raises(OptionError, match="batches of 3 or more texts; got 2"):
        Trg(instance_weight=1).check(make_setting(batch_size=2))
