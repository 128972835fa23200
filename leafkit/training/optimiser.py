"""AdamW as LEAF uses it."""

from __future__ import annotations

import torch
from torch import nn


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all parameters; weight decay on matrices alone.

    Biases, norms and tables of tokens or positions do not decay: the row of a token that the texts never hold
    stays exactly what it was.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    decaying: list[nn.Parameter] = []
    still: list[nn.Parameter] = []
    for parameter in model.parameters():
        (still if parameter.ndim < 2 or id(parameter) in tables else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": still, "weight_decay": 0.0}]
    # The fused kernel passes over each parameter once; the default takes about ten passes.
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, fused=True)
