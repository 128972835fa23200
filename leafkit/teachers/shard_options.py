"""Options for embedding on many machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class ShardOptions(Options):
    """How a corpus is cut into shards, and what computes them."""

    panel: ClassVar[str] = "Many machines"

    shard: Annotated[
        str | None,
        Option(
            "Encode only one shard, e.g. 3/16, into the folder --out. A shard that is finished is skipped. leafkit "
            "index joins the shards of a folder.",
            none="everything, into one file",
        ),
    ] = None

    @property
    def in_shards(self) -> bool:
        """Whether the output is a folder of shards."""
        return self.shard is not None
