"""What the commands of all packages share: how they are recorded, and how they refuse."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leafkit.errors import LeafkitError
from leafkit.extras import explain_missing_extras


def command_line() -> str:
    """What to type to run this process again: its command line, quoted for a shell, the program by its name alone."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else None
    program = ["python", "-m", module] if module else [Path(sys.argv[0]).name]
    # Paths whose bytes are no UTF-8 could not be written down.
    return shlex.join([*program, *sys.argv[1:]]).encode("utf-8", "replace").decode()


@contextmanager
def exit_on_error() -> Iterator[None]:
    """A block in which an error of leafkit ends the process with one message and exit code 1.

    Of an optional package that is missing the message says how to get it.
    """
    try:
        with explain_missing_extras():
            yield
    except LeafkitError as error:
        sys.stderr.write(f"leafkit: {error}\n")
        sys.exit(1)
