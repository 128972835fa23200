"""The folder of an unfinished run, beside its output: what it is doing, and how far it has come."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leafkit.errors import OutputError
from leafkit.files.atomic import explain_disk_errors, write_json
from leafkit.files.lock import exclusive_lock


@dataclass(frozen=True)
class RunFolder:
    """``.NAME.run`` beside the output ``NAME``; it is removed when the student is finished."""

    path: Path

    @classmethod
    def beside(cls, out: Path) -> RunFolder:
        """The run folder of the output ``out``."""
        return cls(out.absolute().parent / f".{out.absolute().name}.run")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; raises `OutputError` if another run holds it."""
        with explain_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        busy = f"another run is writing to {self.path}. Wait until that run has finished or choose another output path."
        with exclusive_lock(self.path / "lock", error=busy):
            yield

    def claim(self, description: dict[str, Any]) -> None:
        """Say what this run does, or see that the unfinished run here does the same, if there is anything of it.

        Raises `OutputError` naming the first field that differs, and both ways out.
        """
        file = self.path / "run.json"
        if not file.is_file() or {path.name for path in self.path.iterdir()} <= {file.name, "lock"}:
            write_json(file, description)
            return
        before = _read(file)
        for name in dict.fromkeys([*description, *before]):
            its, ours = before.get(name), description.get(name)
            if its != ours:
                raise OutputError(
                    f"an unfinished run is in {self.path}, and its {name} differs: it has {its!r}, this one "
                    f"{ours!r}. Repeat the first command to finish it, delete that folder to start "
                    "anew, or choose another out"
                )

    def remove(self) -> None:
        """Delete the folder: its run is finished."""
        shutil.rmtree(self.path, ignore_errors=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise OutputError(f"{file} cannot be read ({error}); delete the folder {file.parent} to start anew") from error
