"""leafkit info: show what a file or folder is and whether it is intact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leafkit.cli.options import Json
from leafkit.cli.printing import say, say_json


def info(
    anything: Annotated[
        Path,
        typer.Argument(help="A file or folder, or the name of a student that ships with leafkit.", show_default=False),
    ],
    as_json: Json = False,
) -> None:
    """Show what a cache, student, index, vectors file, teacher or collection is, its space and its health.

    Every checksum is verified; a damaged file is an error.

    \b
    leafkit info help.index
    leafkit info ~/.cache/leafkit --json
    """
    from leafkit.describe import info as look

    facts = look(anything)
    if as_json:
        say_json(facts, indent=1)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        say(f"{name:<{width}}  {value}")
