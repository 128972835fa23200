"""Helpers for all commands: record the command line in outputs, and print an error as one message."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leafkit.errors import LeafkitError
from leafkit.extras import explain_missing_extras


def command_line() -> str:
    """Return the command that started this process, quoted for a shell, with the program's name without its folder."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else None
    program = ["python", "-m", module] if module else [Path(sys.argv[0]).name]
    # An argument that is not UTF-8 could not be written to a file.
    return shlex.join([*program, *sys.argv[1:]]).encode("utf-8", "replace").decode()


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print a `LeafkitError` raised in the block as one message on stderr and exit the process with code 1.

    A missing optional package is reported with the pip command that installs it.
    """
    try:
        with explain_missing_extras():
            yield
    except LeafkitError as error:
        sys.stderr.write(f"leafkit: {error}\n")
        sys.exit(1)
