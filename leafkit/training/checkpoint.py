"""Checkpoints: the state of a run on disk, from which training resumes as if it had never stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leafkit.errors import DamageError
from leafkit.files.atomic import atomic_folder, write_json
from leafkit.files.checksums import check_checksums, write_checksums
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.files.partial import partial_path

if TYPE_CHECKING:
    from leafkit.training.moments import Reader, Tensors

# The number of newest checkpoints that stay on disk, in addition to the best one.
KEPT = 2
_STATE = "state.json"


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
        self._checked: set[int] = set()

    def write(self, state: State, tensors: Mapping[str, Tensors]) -> None:
        """Add the checkpoint of ``state``, with a file NAME.safetensors for each entry of ``tensors``.

        A checkpoint is complete or absent, even if the process is killed meanwhile. An existing one is not rewritten.
        """
        from safetensors.torch import save

        if self._folder(state.step).is_dir():
            return
        with atomic_folder(self._folder(state.step), marker=_STATE) as folder:
            for name, named in tensors.items():
                # Written as bytes, because safetensors' own writing hides a full disk behind another error.
                (folder / f"{name}.safetensors").write_bytes(save(copied(named)))
            write_json(folder / _STATE, dataclasses.asdict(state))
            write_checksums(folder)
        self._remove_old(state)

    def newest(self) -> State | None:
        """Return the state of the newest checkpoint; None if there is none.

        Raises `DamageError` naming a file of that checkpoint that was changed.
        """
        steps = self.steps()
        return self._state(steps[-1]) if steps else None

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[Reader]:
        """Give a function that reads the tensors of one file NAME.safetensors in the checkpoint of ``step``.

        Raises `DamageError` naming the checkpoint if a byte of it was changed, or if the block fails because of the
        file or its content.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = self._folder(step)
        self._check(step)
        try:
            yield lambda name: load_file(folder / f"{name}.safetensors")
        except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
            raise DamageError(f"the checkpoint {folder} cannot be read: {error}. {self._advice(step)}") from error

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, oldest first."""
        found = (re.fullmatch(r"step-(\d+)", path.name) for path in self.folder.glob("step-*"))
        return sorted(int(match[1]) for match in found if match)

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"

    def _state(self, step: int) -> State:
        file = self._folder(step) / _STATE
        self._check(step)
        with explain_invalid(file, expected="the state of a training", advice=self._advice(step)):
            return State(**read_json_object(file))

    def _check(self, step: int) -> None:
        """Compare the checkpoint of ``step`` with its checksums, once per process: its bytes decide the weights."""
        if step not in self._checked:
            check_checksums(self._folder(step), advice=self._advice(step))
            self._checked.add(step)

    def _advice(self, step: int) -> str:
        return (
            f"Delete {self._folder(step)} to resume from an earlier checkpoint, or {self.folder.parent} to start again."
        )

    def _remove_old(self, state: State) -> None:
        kept = {*self.steps()[-KEPT:], state.best}
        self._remove_leftovers()
        for step in self.steps():
            if step not in kept:
                # Renamed first: a checkpoint whose removal is interrupted must not look like a complete one.
                self._folder(step).rename(partial_path(self._folder(step)))
        self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        for leftover in self.folder.glob(partial_path(self.folder / "step-*").name):
            shutil.rmtree(leftover, ignore_errors=True)


def copied(tensors: Tensors) -> Tensors:
    """Return copies on the CPU: safetensors rejects weights that share memory, as tied embeddings do."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
