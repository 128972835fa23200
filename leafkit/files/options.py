"""Options about files that several commands share: the cache of teacher vectors, and replacing an output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class CacheOptions(Options):
    """Where teacher vectors are cached."""

    panel: ClassVar[str] = "Files"

    cache: Annotated[
        Path | None,
        Option(
            "Folder of cached teacher vectors; the teacher encodes each text once.",
            none="$LEAFKIT_CACHE or ~/.cache/leafkit",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class OverwriteOptions(Options):
    """Whether an existing output is replaced."""

    panel: ClassVar[str] = "Files"

    overwrite: Annotated[bool, Option("Replace an output that leafkit wrote before.", flags=("--overwrite",))] = False


@dataclass(frozen=True, kw_only=True)
class OutputOptions(CacheOptions, OverwriteOptions):
    """The cache of teacher vectors and whether an existing output is replaced."""
