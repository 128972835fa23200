"""Gradients between two steps, without touching the rows of a token table that no text of the batch uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Below this, filling a whole gradient with zeros costs nothing worth saving.
LARGE_TABLE = 4096


class Gradients:
    """The gradients of ``model``, to be cleared after every step.

    A token table's dense gradient is allocated, filled with zeros and added row by row in each step: on a CPU a
    seventh of a step on short texts, for a few hundred rows that differ from zero. With ``lazy`` the gradient stays
    in place, autograd adds the rows in use, and clearing wipes those alone. The optimiser sees the same numbers.
    """

    def __init__(self, model: nn.Module, *, lazy: bool) -> None:
        """Take over the clearing; ``lazy`` needs a CPU and a single process."""
        self._tables = _tables(model) if lazy else []
        kept = {id(table.weight) for table in self._tables}
        self._others = [parameter for parameter in model.parameters() if id(parameter) not in kept]
        for table in self._tables:
            table.sparse = True
            table.weight.grad = torch.zeros_like(table.weight)

    def clear(self, ids: Tensor) -> None:
        """Make all gradients zero (or absent) again; ``ids`` are the tokens of the step just made."""
        for parameter in self._others:
            parameter.grad = None
        for table in self._tables:
            if table.weight.grad is not None:
                table.weight.grad.index_fill_(0, ids.flatten(), 0.0)


def _tables(model: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """Large token tables whose weight has one use only: a second use could fill rows that no text holds."""
    uses = [id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False)]
    found = [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    return [table for table in found if table.num_embeddings >= LARGE_TABLE and uses.count(id(table.weight)) == 1]
