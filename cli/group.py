"""The group of all commands: what Ctrl-C prints."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperGroup

# What is kept of an interrupted command, and how to go on.
CONTINUE = {
    "compare": "Repeat the command to continue: finished trainings are kept.",
    "distill": "Repeat the command to continue from the last checkpoint; teacher vectors are cached.",
    "embed": "Repeat the command to continue: vectors of a teacher are cached.",
    "evaluate": "Repeat the command to continue: vectors of a teacher are cached.",
    "index": "Nothing was written. Repeat the command to continue: vectors of a teacher are cached.",
    "pull": "Nothing was written. Repeat the command.",
    "push": "Repeat the command to continue: what an engine holds is not sent again.",
    "quickstart": "Repeat the command: vectors of the teacher are cached.",
    "serve": "The server has stopped.",
    "update": "The index is unchanged. Repeat the command to continue: vectors of a teacher are cached.",
}
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class Group(TyperGroup):
    """A group of commands that explains an interruption."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; after Ctrl-C, say how to go on and exit with code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            advice = CONTINUE.get(ctx.invoked_subcommand or "", "")
            sys.stderr.write(f"\nleafkit: interrupted. {advice}".rstrip() + "\n")
            sys.exit(INTERRUPTED)
