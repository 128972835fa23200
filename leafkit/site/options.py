"""Options of a site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class SiteOptions(Options):
    """What the page shows, and how exactly it holds the document vectors."""

    panel: ClassVar[str] = "The site"

    title: Annotated[str | None, Option("Heading of the page.", none="the name of the index")] = None
    characters: Annotated[
        int, Option("Characters of each document's text that are shown and downloaded.", at_least=0)
    ] = 300
    precision: Annotated[
        Literal["int16", "int8"],
        Option("Whole numbers that hold the document vectors. int8 is half as large and swaps a few close hits."),
    ] = "int16"
    cache: Annotated[
        Path | None,
        Option("Folder that keeps the JavaScript packages, in npm.", none="$LEAFKIT_CACHE or ~/.cache/leafkit"),
    ] = None
