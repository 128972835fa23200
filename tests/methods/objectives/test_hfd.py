"""HFD and BSD: who teaches whom in each unit, what equal students learn, and the rivals of each loss."""

from dataclasses import replace

import numpy
import pytest
import torch
from scipy.special import log_softmax

from leafkit.errors import OptionError
from leafkit.methods.objectives.hfd import Hfd, Peer, distance, divergence, features, mean_of_valid, spans
from tests.methods.conftest import DIM, ToyTeacher, token_ids

ROWS = numpy.arange(8)


def sides(units=40, width=6, dtype=torch.float64):
    """Two students and the truth of 40 units, with gradients to the students."""
    draw = torch.Generator().manual_seed(3)
    truth = torch.randn(units, width, generator=draw, dtype=dtype)
    pair = [truth + torch.randn(units, width, generator=draw, dtype=dtype) for _ in range(2)]
    return pair[0].requires_grad_(), pair[1].requires_grad_(), truth


def exchange(pair, truth, apart=distance, **fields):
    coins = torch.from_numpy(numpy.random.default_rng(4).random(len(truth)) < 0.5)
    return Hfd(**fields).exchange(pair, truth, apart, coins)


@pytest.mark.parametrize("apart", [distance, divergence])
def test_in_each_unit_the_worse_alone_learns_and_nobody_on_a_tie(apart):
    first, second, truth = sides()
    with torch.no_grad():
        second[:5] = first[:5]  # ties
    losses = exchange((first, second), truth, apart)
    sum(loss.sum() for loss in losses).backward()
    errors = [apart(side.detach(), truth) for side in (first, second)]
    learned = [side.grad.abs().sum(dim=1) > 0 for side in (first, second)]
    assert torch.equal(learned[0], errors[1] < errors[0])
    assert torch.equal(learned[1], errors[0] < errors[1])
    assert torch.equal(learned[0].int() + learned[1].int(), (errors[0] != errors[1]).int())
    assert not learned[0][:5].any()
    assert learned[0].any()
    assert learned[1].any()


@pytest.mark.parametrize("selection", ["reliable", "random", "both"])
@pytest.mark.parametrize("apart", [distance, divergence])
def test_equal_students_have_nothing_to_learn_from_each_other(selection, apart):
    first, _, truth = sides()
    for loss in exchange((first, first), truth, apart, selection=selection):
        torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-12, rtol=0)


def test_equal_low_features_have_no_loss_with_identity_maps():
    state = torch.nn.Module()
    state.low_of_student = state.low_of_peer = torch.nn.Identity()
    low = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    for loss in features(state, low, low.clone()):
        torch.testing.assert_close(loss, torch.zeros(8), atol=1e-6, rtol=0)


@pytest.mark.parametrize("apart", [distance, divergence])
def test_swapping_the_students_swaps_the_losses(apart):
    first, second, truth = sides()
    losses, swapped = exchange((first, second), truth, apart), exchange((second, first), truth, apart)
    assert torch.equal(losses[0], swapped[1])
    assert torch.equal(losses[1], swapped[0])
    state, other = torch.nn.Module(), torch.nn.Module()
    state.low_of_student = other.low_of_peer = torch.nn.Linear(6, 6).double()
    state.low_of_peer = other.low_of_student = torch.nn.Linear(6, 6).double()
    assert all(map(torch.equal, features(state, first, second), features(other, second, first)[::-1]))


@pytest.mark.parametrize("selection", ["reliable", "random"])
@pytest.mark.parametrize("apart", [distance, divergence])
def test_a_selection_is_at_most_the_mutual_loss_unit_by_unit(selection, apart):
    first, second, truth = sides()
    chosen = exchange((first, second), truth, apart, selection=selection)
    mutual = exchange((first, second), truth, apart, selection="both")
    for some, all_of_it in zip(chosen, mutual, strict=True):
        assert ((some == 0) | (some == all_of_it)).all()
        assert 0.2 < (some == 0).double().mean() < 0.8


def test_the_exchange_against_numpy():
    first, second, truth = sides()
    losses = exchange((first, second), truth, divergence)
    one, other, right = (log_softmax(side.detach().numpy(), axis=1) for side in (first, second, truth))

    def kl(p, q):
        return (numpy.exp(p) * (p - q)).sum(axis=1)

    worse = kl(right, other) < kl(right, one)
    numpy.testing.assert_allclose(losses[0].detach(), numpy.where(worse, kl(other, one), 0), atol=1e-12)
    numpy.testing.assert_allclose(losses[1].detach(), numpy.where(~worse, kl(one, other), 0), atol=1e-12)


def test_regions_are_consecutive_words_worked_by_hand():
    states = torch.tensor([[[9.0], [1.0], [3.0], [5.0], [9.0]], [[9.0], [2.0], [9.0], [9.0], [9.0]]])
    words = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    means, valid = spans(states, words, 2)
    assert means[..., 0].tolist() == [[2.0, 5.0], [2.0, 0.0]]
    assert valid.tolist() == [[True, True], [True, False]]
    assert mean_of_valid(torch.tensor([[1.0, 3.0], [4.0, 9.0]]), valid).tolist() == [2.0, 4.0]
    assert spans(states, words & False, 2)[1].tolist() == [[False], [False]]


def test_the_peer_reads_neighbouring_words_and_with_a_kernel_of_one_none():
    embeddings = torch.randn(1, 9, 5, generator=torch.Generator().manual_seed(2))
    changed = embeddings.clone()
    changed[0, 8] += 1
    words = torch.ones(1, 9, dtype=torch.bool)
    for kernel, reach in ((1, 0), (3, 2), (5, 4)):
        peer = Peer(5, 4, kernel, 2, DIM, unit=True)
        before, after = (peer(each, words) for each in (embeddings, changed))
        moved = (before.tokens - after.tokens).abs().sum(dim=-1)[0] > 0
        assert moved.tolist() == [place >= 8 - reach for place in range(9)]


def test_padding_does_not_change_what_the_peer_reads():
    draw = torch.Generator().manual_seed(2)
    embeddings, peer = torch.randn(2, 6, 5, generator=draw), Peer(5, 4, 3, 2, DIM, unit=True)
    words = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    alone = peer(embeddings[:1, :4], words[:1, :4])
    both = peer(embeddings, words)
    torch.testing.assert_close(both.vectors[:1], alone.vectors)
    torch.testing.assert_close(both.vectors.norm(dim=1), torch.ones(2))
    assert not both.tokens[0, 4:].any()


def test_both_students_and_the_maps_learn_and_the_teacher_does_not(make_setting, make_batch):
    method = Hfd(count=8, width=8)
    state = method.build(make_setting())
    batch = make_batch(ROWS)
    terms = method.terms(batch, state)
    assert list(terms) == ["peer", "judge", "low", "region", "row"]
    for name, reached in {"low": batch.layers[0], "region": batch.tokens.student, "row": batch.raw}.items():
        gradient = torch.autograd.grad(terms[name].sum(), reached, retain_graph=True)[0]
        assert gradient.abs().max() > 0
    for name in ("peer", "judge"):
        inputs = (batch.raw, batch.hidden, batch.tokens.student, *batch.layers)
        gradients = torch.autograd.grad(terms[name].sum(), inputs, retain_graph=True, allow_unused=True)
        assert gradients == (None,) * len(inputs)
    sum(loss.sum() for loss in terms.values()).backward()
    assert all(parameter.grad is not None for parameter in state.parameters())


def test_the_terms_are_the_exchange_of_student_and_peer(make_setting, make_batch):
    method = Hfd(count=8, width=8, region=0.5, row=2.0, low=0.25, span=2)
    setting, batch = make_setting(), make_batch(ROWS)
    state = method.build(setting)
    peer = state.peer(setting.live.states(batch.features, 0), batch.tokens.mask)
    terms = method.terms(batch, state)
    torch.testing.assert_close(terms["peer"], (peer.vectors - batch.teacher).norm(dim=1))
    torch.testing.assert_close(terms["low"], 0.25 * sum(features(state, batch.layers[0], peer.layers[0])))
    logits = [state.anchors.logits(side) for side in (batch.student, peer.vectors, batch.teacher)]
    rows = sum(method.exchange((logits[0], logits[1]), logits[2], divergence, torch.ones(8, dtype=torch.bool)))
    torch.testing.assert_close(terms["row"], 2.0 * rows)
    for row in range(8):
        losses = []
        for region in torch.nonzero(batch.tokens.mask[row])[:, 0].split(2):
            own = state.words_of_student(batch.tokens.student[row, region].mean(dim=0))
            other = state.words_of_peer(peer.tokens[row, region].mean(dim=0))
            truth = batch.tokens.teacher[row, region].mean(dim=0)
            assert distance(own, truth) != distance(other, truth)
            losses.append(distance(own, other))  # whoever is worse, the number is the same
        torch.testing.assert_close(terms["region"][row], 0.5 * torch.stack(losses).mean())


def test_the_closed_form_start_of_the_peer_is_better_than_none(make_setting, make_batch):
    teacher = ToyTeacher()
    own = make_setting(live=teacher, targets=lambda rows: teacher.vectors(token_ids(rows)).numpy())
    method = Hfd(count=8, width=32, kernel=1)
    state = method.build(replace(own, batch=lambda rows: make_batch(rows, setting=own)))
    batch = make_batch(range(40), setting=own)
    started = float(method.terms(batch, state)["peer"].mean().detach())
    torch.nn.init.normal_(state.peer.head.weight)
    assert started < 0.7 * float(method.terms(batch, state)["peer"].mean().detach())


def test_until_the_warm_steps_are_over_they_learn_apart(make_setting, make_batch):
    method = Hfd(count=8, width=8, warm=0.1)
    state = method.build(make_setting(steps=100))
    assert list(method.terms(make_batch(ROWS, step=9), state)) == ["peer", "judge"]
    assert "row" in method.terms(make_batch(ROWS, step=10), state)
    apart = Hfd(count=8, width=8, low=0, region=0, row=0)
    assert list(apart.terms(make_batch(ROWS), state)) == ["peer", "judge"]


def test_a_coin_is_the_same_for_a_text_in_any_batch_and_another_at_each_step(make_batch):
    method = Hfd(selection="random")
    coins, turned = (method.coins(make_batch(rows), 6) for rows in (range(8), range(7, -1, -1)))
    assert torch.equal(coins, turned.flip(0))
    assert not torch.equal(coins, method.coins(make_batch(step=1), 6))
    assert torch.equal(coins[:, :2], method.coins(make_batch(), 2))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kernel": 4}, "an odd number, 1 or more"),
        ({"region": -1.0}, "0 or more"),
        ({"span": 0}, "1 or more"),
        ({"selection": "best"}, "reliable, random, both"),
        ({"warm": 1.0}, "0 or more and less than 1"),
        ({"count": 1}, "2 or more anchors"),
    ],
)
def test_invalid_options_are_refused(fields, expected):
    with pytest.raises(OptionError, match=f"hfd:{next(iter(fields))} is .*; expected {expected}"):
        Hfd(**fields)


def test_labels_and_a_live_teacher_are_needed(make_setting):
    assert Hfd().needs == {"layers", "tokens", "live"}
    assert "labels" in Hfd(anchors="labels").needs
    with pytest.raises(TypeError, match="hfd must need 'live'"):
        Hfd(count=8).build(make_setting(live=None))
    with pytest.raises(OptionError, match="count is 300; expected 2 to 120 anchors"):
        Hfd(count=300).check(make_setting())
