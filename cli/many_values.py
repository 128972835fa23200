"""A command whose options take several values in a row: ``--data A B`` reads like ``--data A --data B``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leafkit.cli.suggestions import Command
from leafkit.errors import OptionError

# The options that take several values, with an example for the error message.
EXAMPLES = {
    "--data": "--data beir/scifact beir/nfcorpus",
    "--mteb": "--mteb stsb-en banking77",
    "--student": "--student my-student",
}


class ManyValuesCommand(Command):
    """A command that accepts several values after ``--data``, ``--mteb`` and ``--student``."""

    # Depending on its version, typer uses the click package or a copy inside itself, so the context has no one type.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each further value, then parse as usual."""
        return super().parse_args(ctx, repeat_options(args))


def repeat_options(arguments: Sequence[str]) -> list[str]:
    """Write ``--data A B`` as ``--data A --data B``.

    Raises `OptionError` for an option in `EXAMPLES` without a value, because the parser would take the next option as
    the value.
    """
    result: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            if option and result[-1] == option:
                expected = f"expected one or more values, e.g. {EXAMPLES[option]}"
                raise OptionError(f"{option} is followed by {argument}; {expected}")
            option = argument if argument in EXAMPLES else None
        elif option and result[-1] != option:
            result.append(option)
        result.append(argument)
    return result
