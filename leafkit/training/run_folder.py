"""The folder of an unfinished run: its description, its start and its checkpoints."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import InputError, OutputError
from leafkit.files.atomic import parent_folders, write_json
from leafkit.files.disk_errors import explain_disk_errors
from leafkit.files.json_file import read_json_object
from leafkit.files.lock import exclusive_lock
from leafkit.files.partial import delete

FIRST = "first"
"""The name of the training of a run that trains one student, once."""

_DESCRIPTION, _LOCK = "run.json", "lock"
# What is made before the first step of the training.
_START, _ARCHITECTURE, _ASKED = "start", "architecture", "asked.bin"


@dataclass(frozen=True)
class RunFolder:
    """The folder ``.NAME.run`` next to the output ``NAME``; a finished run removes it."""

    path: Path

    @classmethod
    def of_output(cls, out: Path) -> RunFolder:
        """Return the run folder of the output ``out``."""
        return cls(out.absolute().parent / f".{out.absolute().name}.run")

    @property
    def start(self) -> Path:
        """The folder of the student as it starts, with the tokenised texts."""
        return self.path / _START

    @property
    def architecture(self) -> Path:
        """The folder of the student that an architecture search found."""
        return self.path / _ARCHITECTURE

    @property
    def asked(self) -> Path:
        """The file with the keys of the texts that methods asked for during the training."""
        return self.path / _ASKED

    def checkpoints(self, fit: str = FIRST) -> Path:
        """Return the folder of the checkpoints of the training that is called ``fit``."""
        return self.path / ("checkpoints" if fit == FIRST else f"fit-{fit}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raise `OutputError` if another run holds it.

        A run that fails before it has written anything but its description leaves no folder. Nor does one that is
        refused (`InputError`) before its first checkpoint: its command must change, and would find another run's
        folder.
        """
        busy = f"another run is writing to {self.path}. Wait until that run has finished or choose another output path."
        with parent_folders(self.path), exclusive_lock(self.path / _LOCK, error=busy):
            try:
                yield
            except BaseException as error:
                if self._has_only() or (
                    isinstance(error, InputError) and self._has_only(_START, _ARCHITECTURE, _ASKED)
                ):
                    self.remove()
                raise

    def claim(self, description: dict[str, Any]) -> None:
        """Record the ``description`` of this run, or check that the unfinished run in the folder has the same.

        Raises `OutputError` naming the first field that differs, and saying how to continue.
        """
        file = self.path / _DESCRIPTION
        if not file.is_file():
            # What a finished run left that was killed while it removed its folder must not be taken for this run's.
            for path in self.path.iterdir():
                if path.name != _LOCK:
                    delete(path)
        if not file.is_file() or self._has_only():
            write_json(file, description)
            return
        before = _read(file)
        for name in dict.fromkeys([*description, *before]):
            old, new = before.get(name), description.get(name)
            if old != new:
                raise OutputError(
                    f"an unfinished run is in {self.path}, and its {name} differs: the unfinished run has {old!r}, "
                    f"this run has {new!r}. Repeat the first command to finish that run, delete the folder to start "
                    "again, or choose another output path."
                )

    def remove(self) -> None:
        """Delete the folder of a finished run, its description first: without one, nothing in the folder is used."""
        with explain_disk_errors(self.path):
            (self.path / _DESCRIPTION).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def _has_only(self, *names: str) -> bool:
        """Tell whether the folder has nothing but the description and, at most, entries called ``names``."""
        return self.path.is_dir() and {path.name for path in self.path.iterdir()} <= {_DESCRIPTION, _LOCK, *names}


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json_object(file)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{file} cannot be read ({error}). To start again, delete the folder {file.parent}."
        ) from error
