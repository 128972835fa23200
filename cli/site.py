"""leafkit site: write a static site that searches an index inside the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from leafkit.cli.options import with_options
from leafkit.cli.printing import say
from leafkit.files.options import OverwriteOptions
from leafkit.site.options import SiteOptions


@with_options(SiteOptions, OverwriteOptions)
def site(
    index: Annotated[Path, typer.Argument(help="The index folder.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    encoder: Annotated[
        Path | None,
        typer.Option(
            help="Another student of the same space to use instead of the one in the index: a folder or a name."
        ),
    ] = None,
    effort: Annotated[
        str | None,
        typer.Option(
            help="Which student of an index with several, such as table, small or full (default: the best one). "
            "leafkit info names them.",
            show_default=False,
        ),
    ] = None,
    **options: Any,
) -> None:
    """Write a static site that searches an index entirely in the browser: no server of yours, no other origin.

    The folder holds the teacher's document vectors as whole numbers, the student, and all JavaScript. Any web server
    can publish it, under any path. Titles, the start of each text and links (column url) of all documents become
    public.

    \b
    leafkit site docs.index --out public
    leafkit site docs.index --out public --effort table --title "Our manuals"
    python3 -m http.server -d public
    """
    from leafkit.site.build import build_site

    built = build_site(index, out, encoder=encoder, effort=effort, **options)
    width = max(map(len, built.files))
    for name, size in built.files.items():
        say(f"  {name:<{width}} {size / 1e6:>9.3f} MB")
    say(f"  {'a browser downloads':<{width}} {built.total / 1e6:>9.3f} MB, less if the server compresses")
    say(f"{built.folder}\nLook at it: python3 -m http.server -d {built.folder}, then open http://localhost:8000")
