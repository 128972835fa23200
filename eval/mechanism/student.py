"""The student of the laboratory: a perceptron on cached features, with a linear head as every leafkit student has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, gelu, normalize

from leafkit.methods.batch import Outputs
from leafkit.students.head import Linear, fit_head
from leafkit.types import Float32


class Perceptron(nn.Module):
    """Maps ``features`` (rows, inputs) through ``depth`` hidden layers of ``width`` units and a head to unit vectors.

    The hidden layers stand for the layers of a transformer: `Outputs.layers` holds the states after each, and
    `Outputs.hidden` the last of them.
    """

    table: Tensor | None

    def __init__(
        self, inputs: int, *, width: int, depth: int, dim: int, seed: int, table: Float32 | None = None
    ) -> None:
        """Draw the weights from ``seed``; torch's own random state does not change.

        ``table`` (vocabulary, inputs), which is not trained, turns token ids into features.
        """
        super().__init__()
        self.register_buffer("table", None if table is None else torch.from_numpy(table), persistent=False)
        sizes = [inputs, *[width] * depth]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(size, width) for size in sizes[:-1])
            self.head = nn.Linear(width, dim)

    def outputs(self, features: Tensor) -> Outputs:
        """Return all stages of the forward pass of ``features``, (rows, inputs)."""
        states = [features]
        for layer in self.layers:
            states.append(gelu(layer(states[-1])))
        raw = self.head(states[-1])
        return Outputs(student=normalize(raw, dim=-1), raw=raw, hidden=states[-1], layers=tuple(states[1:]))

    def forward(self, features: dict[str, Tensor]) -> Outputs:
        """Return all stages for the ``features`` of a `Batch`: rows of features, or token ids for the table."""
        if self.table is None:
            return self.outputs(features["features"])
        return self.outputs(embedding_bag(features["input_ids"], self.table, features["offsets"], mode="mean"))

    @torch.inference_mode()
    def encode(self, features: Float32) -> Float32:
        """Return the unit vectors, (rows, dim), of ``features`` (rows, inputs)."""
        return self.outputs(torch.from_numpy(features)).student.numpy()

    @torch.inference_mode()
    def hidden(self, features: Float32) -> Float32:
        """Return the inputs of the head, (rows, width), of ``features`` (rows, inputs)."""
        return self.outputs(torch.from_numpy(features)).hidden.numpy()

    def start_head(self, features: Float32, targets: Float32) -> None:
        """Start the head in the ridge solution from the states of ``features`` to ``targets`` (rows, dim)."""
        self.set_head(fit_head(self.hidden(features), targets))

    @torch.no_grad()
    def set_head(self, head: Linear) -> None:
        """Copy ``head`` into the head."""
        self.head.weight.copy_(torch.from_numpy(head.weight))
        self.head.bias.copy_(torch.from_numpy(head.bias))

    def linear(self) -> Linear:
        """Return a copy of the head."""
        weight, bias = (parameter.detach().numpy().copy() for parameter in (self.head.weight, self.head.bias))
        return Linear(weight=weight, bias=bias, penalty=0.0)
