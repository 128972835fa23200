"""Printing the results and the log of commands, safe on a terminal whatever the data contains."""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer

from leafkit.terminal import json_text, shown


def say(text: object) -> None:
    """Print ``text`` on stdout. On a terminal, control characters are replaced by visible escapes."""
    typer.echo(shown(str(text), sys.stdout))


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print ``value`` as JSON on stdout. Control characters are always escaped, so that the JSON stays exact."""
    typer.echo(json_text(value, indent=indent))


def field(text: str) -> str:
    """Return ``text`` as one part of a line: on a terminal a line end in it is shown as ``\\n``."""
    return text.replace("\n", "\\n") if sys.stdout.isatty() else text


class LogFormatter(logging.Formatter):
    """Formats log records as their message. On a terminal, control characters are replaced by visible escapes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of ``record`` for stderr."""
        return shown(super().format(record), sys.stderr)
