"""Closed-form starts of the heads that methods train beside the student's own head.

The student's head starts at its ridge solution. A second head that starts at random would need most of a short
training to catch up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
import torch

from leafkit.students.head import fit_head, set_linear

if TYPE_CHECKING:
    from torch import Tensor, nn

    from leafkit.methods.setting import Setting
    from leafkit.types import Int64

# The largest number of texts that a head is fitted to, and the texts of a forward pass that returns layers.
SAMPLE, CHUNK = 5000, 64


def start_linear(linear: nn.Linear, inputs: Tensor, targets: Tensor, *, seed: int = 0) -> None:
    """Copy into ``linear`` the ridge solution from ``inputs`` (texts, width) to ``targets`` (texts, outputs).

    A layer without a bias gets the solution without one. ``seed`` draws the texts that choose the penalty.
    """
    features, outputs = (side.float().cpu().numpy() for side in (inputs, targets))
    set_linear(linear, fit_head(features, outputs, bias=linear.bias is not None, seed=seed))


def layer_states(setting: Setting, rows: Int64) -> list[Tensor]:
    """Return the current student's mean token state after each layer for the texts ``rows``, each (rows, width).

    The result is on the CPU.
    """
    chunks = numpy.array_split(rows, -(-len(rows) // CHUNK))
    # A batch always has gradients. Kept states that were not detached would keep the activations of all chunks.
    parts = [[states.detach().float().cpu() for states in setting.batch(chunk).layers] for chunk in chunks]
    return [torch.cat(states) for states in zip(*parts, strict=True)]
