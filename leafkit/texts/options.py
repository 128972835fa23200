"""Options for reading texts."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar

from leafkit.options import Option, Options
from leafkit.types import ROLES

PANEL = "Reading texts"


@dataclass(frozen=True, kw_only=True)
class SkipOptions(Options):
    """What happens to rows that cannot be read."""

    panel: ClassVar[str] = PANEL

    skip_bad: Annotated[
        bool,
        Option("Skip rows that cannot be read and report how many; the default is an error.", flags=("--skip-bad",)),
    ] = False


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(SkipOptions):
    """How rows of files become texts."""

    text_column: Annotated[
        str | None,
        Option("Column of the text.", none="the first of text, content, sentence, query, document, body"),
    ] = None
    id_column: Annotated[
        str | None, Option("Column of the id.", none="the first of _id, id, docid, else file name and row number")
    ] = None


@dataclass(frozen=True, kw_only=True)
class RoleOptions(ReadingOptions):
    """How rows become texts that have a role."""

    role: Annotated[str, Option("Role of texts whose row and source set none: query or document.", choices=ROLES)] = (
        "document"
    )


@dataclass(frozen=True, kw_only=True)
class TextOptions(RoleOptions):
    """Which texts a training reads, and which it holds out."""

    queries: Annotated[int | None, Option("Use at most this many queries, the first ones.", none="all", at_least=0)] = (
        None
    )
    documents: Annotated[
        int | None, Option("Use at most this many documents, the first ones.", none="all", at_least=0)
    ] = None
    valid: Annotated[
        str | PathLike[str] | list[str] | None,
        Option("Texts to validate on; they are left out of training.", none="2 % of the texts, at most 2,000"),
    ] = None
