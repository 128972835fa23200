"""The state of a run on disk: enough that going on from it equals never having stopped."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError
from leafkit.files.atomic import explain_disk_errors, flush_to_disk, write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from leafkit.training.companions import Companions
    from leafkit.training.optimiser import Together

    Optimiser = torch.optim.Optimizer | Together

KEPT = 2


@dataclass
class State:
    """Where a run is: ``step`` optimiser steps are done; ``best`` is the step of the best validation so far.

    ``history`` holds one entry per validation: step, seconds, loss and figures. ``seconds`` counts training alone,
    without validation and what was lost by being stopped. ``loss`` is the running mean shown.
    """

    step: int = 0
    best: int | None = None
    best_cosine: float = -2.0
    widest: float = 0.0
    loss: float | None = None
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one run folder: the two newest and the best are kept."""

    def __init__(self, folder: Path) -> None:
        """Keep them below ``folder``."""
        self.folder = folder

    def write(self, state: State, model: nn.Module, optimiser: Optimiser, companions: Companions | None = None) -> None:
        """Add the checkpoint of ``state``; it appears whole or not at all."""
        from safetensors.torch import save

        if self._folder(state.step).is_dir():
            return
        with explain_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
            try:
                # As bytes, since safetensors' own writing hides a full disk behind an error of its own.
                (partial / "student.safetensors").write_bytes(save(_whole(model.state_dict())))
                (partial / "optimiser.safetensors").write_bytes(save(moments(model, optimiser)))
                (partial / "random.safetensors").write_bytes(save(_random_states()))
                for name, tensors in companions.tensors().items() if companions else ():
                    (partial / name).write_bytes(save(_whole(tensors)))
                write_json(partial / "state.json", dataclasses.asdict(state))
                for file in partial.iterdir():
                    flush_to_disk(file)
                partial.rename(self._folder(state.step))
                flush_to_disk(self.folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        self._forget(state)

    def newest(self) -> State | None:
        """The state of the newest checkpoint; None if there is none."""
        steps = self.steps()
        return self._state(steps[-1]) if steps else None

    def load(
        self,
        step: int,
        model: nn.Module,
        optimiser: Optimiser | None = None,
        companions: Companions | None = None,
    ) -> None:
        """Put the checkpoint of ``step`` into ``model``; into ``optimiser`` with the random states, and the methods."""
        from safetensors.torch import load_file

        folder = self._folder(step)
        try:
            model.load_state_dict(load_file(folder / "student.safetensors"))
            if optimiser is not None:
                set_moments(model, optimiser, load_file(folder / "optimiser.safetensors"))
                _set_random_states(load_file(folder / "random.safetensors"))
            if companions is not None:
                companions.restore({file.name: load_file(file) for file in folder.glob("methods*.safetensors")})
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise DamageError(f"the checkpoint {folder} cannot be read: {error}; delete that folder") from error
        except Exception as error:  # safetensors has an exception of its own
            raise DamageError(f"the checkpoint {folder} is damaged: {error}; delete that folder") from error

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        found = (re.fullmatch(r"step-(\d+)", path.name) for path in self.folder.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _state(self, step: int) -> State:
        file = self._folder(step) / "state.json"
        try:
            return State(**json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DamageError(f"the checkpoint {file} cannot be read: {error}; delete the folder it is in") from error

    def _forget(self, state: State) -> None:
        kept = {*self.steps()[-KEPT:], state.best}
        for step in self.steps():
            if step not in kept:
                # Renamed first: a checkpoint that is killed halfway through its removal must not look like one.
                self._folder(step).rename(self.folder / f".partial-{step}")
        for left_over in self.folder.glob(".partial-*"):
            shutil.rmtree(left_over, ignore_errors=True)


def _whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # Cloned: safetensors refuses weights that share memory, as tied embeddings do.
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def moments(model: nn.Module, optimiser: Optimiser) -> dict[str, Tensor]:
    """The optimiser's tensors by parameter name: ``exp_avg.0.model.…``."""
    return _whole(
        {
            f"{key}.{name}": value
            for name, parameter in model.named_parameters()
            for key, value in optimiser.state.get(parameter, {}).items()
        }
    )


def set_moments(model: nn.Module, optimiser: Optimiser, tensors: dict[str, Tensor]) -> None:
    """Put what `moments` gave back into ``optimiser``."""
    parameters = dict(model.named_parameters())
    optimiser.state.clear()
    for key, tensor in tensors.items():
        moment, _, name = key.partition(".")
        parameter = parameters[name]
        # The step counter lives where the fused kernel wants it: beside the parameter.
        optimiser.state[parameter][moment] = tensor.to(parameter.device)


def _random_states() -> dict[str, Tensor]:
    import torch

    cuda = {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return {"cpu": torch.get_rng_state(), **cuda}


def _set_random_states(states: dict[str, Tensor]) -> None:
    import torch

    torch.set_rng_state(states["cpu"])
    for device in range(torch.cuda.device_count()):
        if f"cuda.{device}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{device}"], device)
