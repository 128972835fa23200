"""The Kullback-Leibler divergence KL(p || q) = sum_i p_i (log p_i - log q_i) of distributions, in nats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def kl_of_logits(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return T^2 KL(target || logits) of the softmax at T = ``temperature``, along the last dimension.

    The factor T^2 keeps the size of the gradient when T changes (https://arxiv.org/abs/1503.02531, section 2.1).
    """
    expected, got = (target / temperature).log_softmax(dim=-1), (logits / temperature).log_softmax(dim=-1)
    return temperature**2 * kl_of_logs(expected, got)


def kl_of_logs(target: Tensor, logs: Tensor) -> Tensor:
    """Return KL(target || logs) of log-probabilities, all of them finite, along the last dimension."""
    return (target.exp() * (target - logs)).sum(dim=-1)
