"""SinKD: the transport plan and the loss of each text."""

import dataclasses

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from leafkit.errors import OptionError
from leafkit.methods.objectives.sinkd import Sinkd, transport


@pytest.fixture
def costs():
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(7, 5, generator=draw, dtype=torch.float64).div(2).softmax(-1) for _ in range(2))
    return (student[:, None] - teacher[None]).abs().sum(dim=-1)


@pytest.fixture
def losses(make_setting):
    def of(batch, **fields):
        method = Sinkd(count=8, **fields)
        return method.terms(batch, method.build(make_setting()))["sinkd"]

    return of


def test_the_plan_is_doubly_stochastic(costs):
    plan = transport(costs, 0.1, 20)
    assert torch.allclose(plan.sum(dim=0), torch.ones(7, dtype=torch.float64))
    assert (plan.sum(dim=1) - 1).abs().max() < 1e-3


def test_the_loss_of_one_text_is_twice_the_total_variation(losses, make_batch, make_setting):
    batch = make_batch(range(1))
    anchors = Sinkd(count=8).build(make_setting()).anchors
    student, teacher = ((anchors.logits(v) / 2).softmax(-1) for v in (batch.student, batch.teacher))
    variation = (student - teacher).abs().sum() / 2
    assert torch.allclose(losses(batch), 2 * variation)


def test_a_large_blur_spreads_the_mass_evenly(costs):
    assert torch.allclose((transport(costs, 1e6, 20) * costs).sum(), costs.sum() / 7, rtol=1e-5)


def test_a_small_blur_finds_the_optimal_assignment(costs):
    rows, columns = linear_sum_assignment(costs.numpy())
    best = costs.numpy()[rows, columns].sum()
    assert float((transport(costs, 1e-3, 3000) * costs).sum()) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize("cost", ["anchors", "vectors"])
def test_permuting_only_the_student_does_not_change_the_sum(cost, losses, make_batch):
    batch = make_batch()
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    other = dataclasses.replace(batch, student=batch.student[order])
    assert torch.allclose(losses(batch, cost=cost).sum(), losses(other, cost=cost).sum(), rtol=1e-5)


@pytest.mark.parametrize("cost", ["anchors", "vectors"])
def test_permuting_all_rows_permutes_the_losses(cost, losses, make_batch):
    batch, order = make_batch(), torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    other = dataclasses.replace(batch, student=batch.student[order], teacher=batch.teacher[order])
    assert torch.allclose(losses(other, cost=cost), losses(batch, cost=cost)[order], rtol=1e-4)


def test_the_cost_of_vectors_is_one_minus_cosine(losses, make_batch):
    batch = make_batch(range(1))
    cosine = torch.nn.functional.cosine_similarity(batch.student, batch.teacher)
    assert torch.allclose(losses(batch, cost="vectors"), 1 - cosine, atol=1e-6)


def test_the_loss_of_a_perfect_student_shrinks_with_the_blur(losses, make_batch):
    batch = make_batch()
    perfect = dataclasses.replace(batch, student=batch.teacher)
    paid = [float(losses(perfect, blur=blur).sum()) for blur in (0.3, 0.1, 0.03, 0.003)]
    assert paid == sorted(paid, reverse=True)
    assert paid[1] > 1e-2
    assert paid[-1] < 1e-3


def test_no_mass_underflows_for_costs_of_hundreds_of_blurs():
    costs = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)) * 2
    plan = transport(costs, 1e-3, 50)
    assert plan.isfinite().all()
    assert torch.allclose(plan.sum(dim=0), torch.ones(6), atol=1e-5)


def test_sinkd_cannot_train_alone():
    assert Sinkd.cannot_train_alone


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"blur": -1}, {"rounds": 0}, {"cost": "miles"}])
def test_invalid_options_are_refused(fields):
    with pytest.raises(OptionError, match=f"sinkd:{next(iter(fields))} is .*; expected"):
        Sinkd(**fields)
