"""Checkpoints: the state of a run on disk, from which training resumes as if it had never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError
from leafkit.files.atomic import flush_to_disk, write_json
from leafkit.files.disk_errors import explain_disk_errors

if TYPE_CHECKING:
    from leafkit.training.moments import Reader, Tensors

# The number of newest checkpoints that stay on disk, in addition to the best one.
KEPT = 2


@dataclass
class State:
    """The progress of a run: ``step`` optimiser steps are done.

    ``best`` is the step of the best validation so far and ``best_cosine`` its mean cosine. ``widest`` is the largest
    spread of the student's vectors so far. ``loss`` is the running mean that the progress bar shows. ``seconds``
    counts training only, without validation and without work that was lost when the run was stopped. ``history``
    holds one entry per validation: step, seconds, loss and figures.
    """

    step: int = 0
    best: int | None = None
    best_cosine: float = -2.0
    widest: float = 0.0
    loss: float | None = None
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class Checkpoints:
    """The checkpoints of one training below ``folder``: the two newest and the best are kept."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which need not exist yet."""
        self.folder = folder

    def write(self, state: State, tensors: Mapping[str, Tensors]) -> None:
        """Add the checkpoint of ``state``, with a file NAME.safetensors for each entry of ``tensors``.

        A checkpoint is complete or absent, even if the process is killed meanwhile. An existing one is not rewritten.
        """
        from safetensors.torch import save

        if self._folder(state.step).is_dir():
            return
        with explain_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
            try:
                for name, named in tensors.items():
                    # Written as bytes, because safetensors' own writing hides a full disk behind another error.
                    (partial / f"{name}.safetensors").write_bytes(save(_copied(named)))
                write_json(partial / "state.json", dataclasses.asdict(state))
                for file in partial.iterdir():
                    flush_to_disk(file)
                partial.rename(self._folder(state.step))
                flush_to_disk(self.folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        self._remove_old(state)

    def newest(self) -> State | None:
        """Return the state of the newest checkpoint; None if there is none."""
        steps = self.steps()
        return self._state(steps[-1]) if steps else None

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[Reader]:
        """Give a function that reads the tensors of one file NAME.safetensors in the checkpoint of ``step``.

        Raises `DamageError` naming the checkpoint if the block fails because of the file or its content.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = self._folder(step)
        try:
            yield lambda name: load_file(folder / f"{name}.safetensors")
        except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
            raise DamageError(
                f"the checkpoint {folder} cannot be read: {error}. Delete that folder to resume from an earlier one."
            ) from error

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, oldest first."""
        found = (re.fullmatch(r"step-(\d+)", path.name) for path in self.folder.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _state(self, step: int) -> State:
        file = self._folder(step) / "state.json"
        try:
            return State(**json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DamageError(
                f"the checkpoint {file} cannot be read: {error}. Delete its folder to resume from an earlier one."
            ) from error

    def _remove_old(self, state: State) -> None:
        kept = {*self.steps()[-KEPT:], state.best}
        for step in self.steps():
            if step not in kept:
                # Renamed first: a checkpoint whose removal is interrupted must not look like a complete one.
                self._folder(step).rename(self.folder / f".partial-{step}")
        for left_over in self.folder.glob(".partial-*"):
            shutil.rmtree(left_over, ignore_errors=True)


def _copied(tensors: Tensors) -> Tensors:
    """Return copies on the CPU: safetensors rejects weights that share memory, as tied embeddings do."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
