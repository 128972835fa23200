"""Options for exporting a student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """Which files an export writes."""

    panel: ClassVar[str] = "Export"

    int8: Annotated[
        bool,
        Option("Write the int8 file as well: a quarter of the size, about twice as fast.", flags=("--int8/--no-int8",)),
    ] = True
    licence: Annotated[
        str | None,
        Option(
            "Licence that the model card in --out states, such as mit or apache-2.0.",
            none="the licence of the student's card",
            flags=("--licence", "--license"),
        ),
    ] = None
