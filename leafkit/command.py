"""The command line that figures and students are recorded with."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command() -> str:
    """What to type to run this process again: its command line, quoted for a shell, the program by its name alone."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else None
    program = ["python", "-m", module] if module else [Path(sys.argv[0]).name]
    return shlex.join([*program, *sys.argv[1:]])
