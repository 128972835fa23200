"""What a finished training leaves in the run folder, so that later trainings of the run can start from it or ask it."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from leafkit.files.atomic import atomic_folder, write_json
from leafkit.files.checksums import check_checksums, write_checksums
from leafkit.files.json_file import explain_invalid, read_json_object
from leafkit.training.checkpoint import State, copied
from leafkit.training.validation import Figures

_RESULT, _WEIGHTS = "result.json", "student.safetensors"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a training beside its student.

    ``state`` is the final state of the training and ``steps`` the number of its steps. ``asked`` is the number of
    training texts whose teacher vectors its feeds used. ``figures`` are those of the student if methods changed its
    head afterwards, else None.
    """

    state: State
    steps: int
    asked: int
    figures: Figures | None


class FinishedFit:
    """The finished student of one training, in the folder ``student`` beside its checkpoints."""

    def __init__(self, checkpoints: Path) -> None:
        """Use the folder of a training, which need not exist yet."""
        self._folder = checkpoints / "student"
        self._advice = f"Delete {checkpoints} to train this student again."

    def save(self, model: nn.Module, result: Result) -> None:
        """Write the weights of ``model`` and the ``result``; complete or absent, even if the process is killed.

        The checkpoints of the training are no longer needed and are deleted.
        """
        from safetensors.torch import save

        with atomic_folder(self._folder, marker=_RESULT) as folder:
            (folder / _WEIGHTS).write_bytes(save(copied(model.state_dict())))
            write_json(folder / _RESULT, dataclasses.asdict(result))
            write_checksums(folder)
        self._delete_checkpoints()

    def read(self) -> Result | None:
        """Return the result, None if the training is not finished; raise `DamageError` for a changed file."""
        if not self._folder.is_dir():
            return None
        self._delete_checkpoints()
        check_checksums(self._folder, advice=self._advice)
        with explain_invalid(self._folder / _RESULT, expected="the result of a training", advice=self._advice):
            found = read_json_object(self._folder / _RESULT)
            figures = None if found["figures"] is None else Figures(**found["figures"])
            return Result(state=State(**found["state"]), steps=found["steps"], asked=found["asked"], figures=figures)

    def load_into(self, model: nn.Module) -> None:
        """Give ``model`` the weights of the finished student; raise `DamageError` for a changed file."""
        from safetensors.torch import load_file

        check_checksums(self._folder, advice=self._advice)
        model.load_state_dict(load_file(self._folder / _WEIGHTS))

    def _delete_checkpoints(self) -> None:
        for step in self._folder.parent.glob("step-*"):
            shutil.rmtree(step, ignore_errors=True)
