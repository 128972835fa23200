"""Helpers for all commands: record the command line in outputs, and print an error as one message."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leafkit.errors import LeafkitError
from leafkit.extras import explain_missing_extras
from leafkit.terminal import shown, without_passwords

# Set this environment variable to see where an unexpected error comes from.
TRACEBACK = "LEAFKIT_TRACEBACK"
# EX_SOFTWARE of the BSD sysexits: the error is in the program, not in its input.
INTERNAL_ERROR = 70


def command_line() -> str:
    """Return the command that started this process, quoted for a shell, without the passwords of addresses.

    The program's name is without its folder.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else None
    program = ["python", "-m", module] if module else [Path(sys.argv[0]).name]
    # An argument that is not UTF-8 could not be written to a file.
    return shlex.join([*program, *map(without_passwords, sys.argv[1:])]).encode("utf-8", "replace").decode()


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print an exception raised in the block as one message on stderr and exit the process.

    The exit code is 1 for a `LeafkitError`, for a file that the system refuses to open or write, and for a lack of
    memory; it is 70 for any other exception, which is an error in leafkit. A missing optional package is reported with
    the pip command that installs it. With the environment variable LEAFKIT_TRACEBACK, Python's traceback is shown.
    """
    try:
        with explain_missing_extras():
            yield
    except (SystemExit, KeyboardInterrupt, GeneratorExit):
        raise
    # Panics of libraries written in Rust are not of the class Exception.
    except BaseException as error:
        if os.environ.get(TRACEBACK):
            raise
        message, code = _explain(error)
        sys.stderr.write(f"leafkit: {shown(message, sys.stderr)}\n")
        sys.exit(code)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the message and the exit code for ``error``."""
    if isinstance(error, LeafkitError):
        return str(error), 1
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{error.strerror}. Check the path, its permissions and the space on the disk.", 1
    if isinstance(error, MemoryError):
        return "there is not enough memory. Use fewer or shorter texts, smaller batches, or a larger machine.", 1
    name = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"internal error: {name} (run with {TRACEBACK}=1 to see where; please report)", INTERNAL_ERROR
