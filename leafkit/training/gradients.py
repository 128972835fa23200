"""Gradients between two steps, without touching the rows of a token table that no text of the batch uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Below this, filling a whole gradient with zeros costs nothing worth saving.
LARGE_TABLE = 4096

Table = nn.Embedding | nn.EmbeddingBag


class Gradients:
    """The gradients of ``model``, to be cleared after every step.

    A token table's dense gradient is allocated, filled with zeros and added row by row in each step: on a CPU a
    seventh of a step on short texts, for a few hundred rows that differ from zero. That of ``table`` stays in place
    instead, autograd adds the rows in use, and clearing wipes those alone. The optimiser sees the same numbers.
    """

    def __init__(self, model: nn.Module, table: Table | None) -> None:
        """Take over the clearing; ``table`` is the one that token ids index, on a CPU in a single process, or None."""
        self._table = table if table is not None and _worthwhile(table, model) else None
        kept = None if self._table is None else self._table.weight
        self._others = [parameter for parameter in model.parameters() if parameter is not kept]
        if self._table is not None:
            self._table.sparse = True
            self._table.weight.grad = torch.zeros_like(self._table.weight)

    def clear(self, ids: Tensor) -> None:
        """Make all gradients zero (or absent) again; ``ids`` are the tokens of the step just made."""
        for parameter in self._others:
            parameter.grad = None
        if self._table is not None and self._table.weight.grad is not None:
            self._table.weight.grad.index_fill_(0, ids.flatten(), 0.0)


def _worthwhile(table: Table, model: nn.Module) -> bool:
    """Whether ``table`` is large and its weight has one use only: a second could fill rows that no text holds."""
    uses = [id(parameter) for module in model.modules() for parameter in module.parameters(recurse=False)]
    return table.num_embeddings >= LARGE_TABLE and uses.count(id(table.weight)) == 1
