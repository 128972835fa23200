"""AdamW as LEAF uses it, and Muon for the matrices of a transformer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from leafkit.errors import OptionError
from leafkit.students.build import head_position
from leafkit.training.recipe import Recipe


def optimiser_of(model: Any, recipe: Recipe) -> torch.optim.AdamW | Together:
    """What ``recipe`` trains the student ``model`` with."""
    build = muon if recipe.optimiser == "muon" else adamw
    return build(model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all parameters; weight decay on matrices alone.

    Biases, norms and tables of tokens or positions do not decay: the row of a token that the texts never hold
    stays exactly what it was.
    """
    return _adamw(list(model.parameters()), _tables(model), learning_rate, weight_decay)


def muon(model: Any, *, learning_rate: float, weight_decay: float) -> Together:
    """Muon over the weight matrices of the student's body, AdamW over its head, tables, biases and norms.

    Muon steps along the nearest orthogonal matrix of the momentum (https://kellerjordan.github.io/posts/muon),
    scaled to the size of an AdamW step (https://arxiv.org/abs/2502.16982), so that one rate serves both.
    Raises `OptionError` for a student without such matrices, and where torch has no Muon.
    """
    if not hasattr(torch.optim, "Muon"):
        raise OptionError(f"optimiser muon needs torch 2.9 or newer, this is {torch.__version__}; use adamw")
    tables, head = _tables(model), {id(p) for p in model[head_position(model)].parameters()}
    everything = list(model.parameters())
    body = [p for p in everything if p.ndim == 2 and id(p) not in tables | head]
    if not body:
        raise OptionError("optimiser muon is for the matrices of a transformer, and this student has none; use adamw")
    chosen = {id(p) for p in body}
    rest = [p for p in everything if id(p) not in chosen]
    return Together(
        torch.optim.Muon(body, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        _adamw(rest, tables, learning_rate, weight_decay),
    )


class Together:
    """Optimisers of different parameters, stepped together; ``param_groups`` and ``state`` are those of all."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        """Join ``parts``; they share one state from here on, so that a checkpoint sees one optimiser."""
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        for part in parts:
            part.state = self.state

    def step(self) -> None:
        """One step of each."""
        for part in self.parts:
            part.step()


def _adamw(
    parameters: list[nn.Parameter], tables: set[int], learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    decaying: list[nn.Parameter] = []
    still: list[nn.Parameter] = []
    for parameter in parameters:
        (still if parameter.ndim < 2 or id(parameter) in tables else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": still, "weight_decay": 0.0}]
    # The fused kernel passes over each parameter once; the default takes about ten passes.
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, fused=True)


def _tables(model: nn.Module) -> set[int]:
    return {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
