"""The command line: one file per command. Each parses its options, calls one function of the toolkit and prints."""

from __future__ import annotations

import io
import logging
import sys

import typer

from leafkit.cli import (
    bulk,
    check,
    compare,
    distill,
    embed,
    evaluate,
    export,
    index,
    info,
    mcp,
    methods,
    pull,
    push,
    quickstart,
    search,
    serve,
    shadow,
    site,
    update,
    upgrade,
    verify,
)
from leafkit.cli.group import Group
from leafkit.cli.many_values import ManyValuesCommand
from leafkit.cli.printing import LogFormatter
from leafkit.cli.suggestions import Command
from leafkit.command import exit_on_error
from leafkit.version import __version__

app = typer.Typer(
    name="leafkit",
    cls=Group,
    help="Distil an embedding model into a small student of the same vector space, and search with it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"leafkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log details to stderr as well."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Log only warnings and errors to stderr."),
) -> None:
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LogFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("leafkit").setLevel(level)


COMMANDS = (
    quickstart,
    distill,
    index,
    update,
    search,
    serve,
    site,
    mcp,
    shadow,
    evaluate,
    compare,
    upgrade,
    embed,
    export,
    check,
    push,
    verify,
    pull,
    bulk,
    info,
)
for command in COMMANDS:
    name = command.__name__.rpartition(".")[2]
    kind = ManyValuesCommand if command is evaluate else Command
    app.command(name, cls=kind)(getattr(command, name))
app.add_typer(methods.app)


def main() -> None:
    """Run the command line. Every error becomes one message on stderr and an exit code (see `exit_on_error`)."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A text may hold a character that the encoding of stdout lacks, such as half of a surrogate pair.
        sys.stdout.reconfigure(errors="backslashreplace")
    with exit_on_error():
        app()
