"""The optimisers: AdamW as LEAF uses it, and Muon for the matrices of a transformer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from leafkit.errors import OptionError
from leafkit.students.student import Student
from leafkit.training.recipe import Recipe


def optimiser_of(student: Student, recipe: Recipe) -> torch.optim.AdamW | Together:
    """Build the optimiser that ``recipe`` trains ``student`` with."""
    if recipe.optimiser == "muon":
        return muon(student, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return adamw(student.model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay)


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """Build AdamW over all parameters of ``model``, with weight decay on matrices only.

    Biases, norms and tables of tokens or positions do not decay, so that the row of a token that no text contains
    stays exactly as it is.
    """
    return _adamw(list(model.parameters()), _tables(model), learning_rate, weight_decay)


def muon(student: Student, *, learning_rate: float, weight_decay: float) -> Together:
    """Build Muon over the weight matrices of the student's body, and AdamW over its head, tables, biases and norms.

    Muon steps along the orthogonal matrix nearest to the momentum (https://kellerjordan.github.io/posts/muon), scaled
    to the size of an AdamW step (https://arxiv.org/abs/2502.16982), so that one learning rate suits both. Raises
    `OptionError` if the student has no such matrices, or if torch has no Muon.
    """
    if not hasattr(torch.optim, "Muon"):
        raise OptionError(f"optimiser muon needs torch 2.9 or newer, but this is torch {torch.__version__}. Use adamw.")
    tables, head = _tables(student.model), {id(p) for p in student.head.parameters()}
    everything = list(student.model.parameters())
    body = [p for p in everything if p.ndim == 2 and id(p) not in tables | head]
    if not body:
        raise OptionError("optimiser muon trains the matrices of a transformer, but this student has none. Use adamw.")
    chosen = {id(p) for p in body}
    rest = [p for p in everything if id(p) not in chosen]
    return Together(
        torch.optim.Muon(body, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        _adamw(rest, tables, learning_rate, weight_decay),
    )


class Together:
    """Several optimisers of different parameters, used as one optimiser with joint ``param_groups`` and ``state``."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        """Join ``parts``, which share one state from now on, so that a checkpoint sees one optimiser."""
        self.parts = parts
        self.param_groups = [group for part in parts for group in part.param_groups]
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        for part in parts:
            part.state = self.state

    def step(self) -> None:
        """Take one step of each part."""
        for part in self.parts:
            part.step()


def _adamw(
    parameters: list[nn.Parameter], tables: set[int], learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    decaying: list[nn.Parameter] = []
    constant: list[nn.Parameter] = []
    for parameter in parameters:
        (constant if parameter.ndim < 2 or id(parameter) in tables else decaying).append(parameter)
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": constant, "weight_decay": 0.0}]
    # The fused kernel reads each parameter once; the default reads it about ten times.
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate, fused=True)


def _tables(model: nn.Module) -> set[int]:
    return {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
