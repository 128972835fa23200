"""Options of bulk files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class BulkOptions(Options):
    """What the engine calls the index, and how large a file may be."""

    panel: ClassVar[str] = "Bulk files"

    name: Annotated[
        str | None,
        Option("What the engine calls the index, schema or class.", none="the name of the index folder"),
    ] = None
    megabytes: Annotated[
        float,
        Option(
            "Largest size of one file in megabytes. Elasticsearch and OpenSearch take 100 in one request, some hosted "
            "ones 10.",
            above=0,
        ),
    ] = 10.0
