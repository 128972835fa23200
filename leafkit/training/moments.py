"""Everything that training changes, as named tensors: weights, optimiser moments and random states."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from leafkit.training.optimiser import Together

    Optimiser = torch.optim.Optimizer | Together

Tensors = dict[str, Tensor]
# Reads the tensors of one name from a checkpoint.
Reader = Callable[[str], Tensors]


def training_tensors(model: nn.Module, optimiser: Optimiser) -> dict[str, Tensors]:
    """Return the tensors of ``model`` and ``optimiser`` and torch's random states, under the names of their files."""
    return {
        "student": model.state_dict(),
        "optimiser": moments(model, optimiser),
        "random": _random_states(),
    }


def restore_training(model: nn.Module, optimiser: Optimiser, read: Reader) -> None:
    """Restore what `training_tensors` returned, read by ``read``, into ``model``, ``optimiser`` and torch."""
    model.load_state_dict(read("student"))
    set_moments(model, optimiser, read("optimiser"))
    _set_random_states(read("random"))


def moments(model: nn.Module, optimiser: Optimiser) -> Tensors:
    """Return the tensors of ``optimiser`` by parameter name, like ``exp_avg.0.model.…``."""
    return {
        f"{key}.{name}": value
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def set_moments(model: nn.Module, optimiser: Optimiser, tensors: Tensors) -> None:
    """Put the ``tensors`` that `moments` returned back into ``optimiser``."""
    parameters = dict(model.named_parameters())
    optimiser.state.clear()
    for key, tensor in tensors.items():
        moment, _, name = key.partition(".")
        parameter = parameters[name]
        # The fused kernel needs the step counter on the device of the parameter.
        optimiser.state[parameter][moment] = tensor.to(parameter.device, copy=True)


def _random_states() -> Tensors:
    cuda = {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return {"cpu": torch.get_rng_state(), **cuda}


def _set_random_states(states: Tensors) -> None:
    torch.set_rng_state(states["cpu"])
    for device in range(torch.cuda.device_count()):
        if f"cuda.{device}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{device}"], device)
