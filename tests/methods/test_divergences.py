"""The divergences that methods share: torch's own, values worked by hand, and what does not change them."""

import math

import pytest
import torch
from torch.nn.functional import kl_div

from leafkit.methods.divergences import kl_of_logits, kl_of_logs


@pytest.fixture
def logits():
    return torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_divergence_is_that_of_torch_with_the_target_first(logits):
    p, q = logits.log_softmax(dim=-1)
    expected = kl_div(q, p, reduction="none", log_target=True).sum(dim=-1)
    torch.testing.assert_close(kl_of_logs(p, q), expected)
    torch.testing.assert_close(kl_of_logits(*logits), expected)
    assert (kl_of_logs(q, p) - expected).abs().min() > 0


def test_it_is_0_only_for_logits_that_are_equal_up_to_a_shift(logits):
    target, other = logits
    assert kl_of_logits(target, other).min() > 0
    assert kl_of_logits(target, target + 5, 2.0).abs().max() < 1e-12


def test_a_value_worked_by_hand():
    target, logits = torch.tensor([2 * math.log(3), 0.0]), torch.zeros(2)  # 3/4 and 1/4 at temperature 2
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert kl_of_logits(target, logits, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_at_a_high_temperature_it_is_half_the_variance_of_the_difference_of_the_logits(logits):
    expected = (logits[0] - logits[1]).var(dim=-1, correction=0) / 2
    torch.testing.assert_close(kl_of_logits(*logits, 1e4), expected, rtol=1e-3, atol=1e-6)
