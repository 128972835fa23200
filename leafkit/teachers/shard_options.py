"""Options for embedding on many machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.errors import OptionError
from leafkit.options import Option, Options

SHARD_ROWS = 16_384  # texts of a shard that Ray spreads: what a worker or a driver that dies loses


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
    ray: Annotated[
        str | None,
        Option(
            "Let the workers of a Ray cluster encode all shards into the folder --out: its address, or local for one "
            "on this machine.",
            none="no cluster",
        ),
    ] = None
    shards: Annotated[
        int | None, Option("Shards that Ray spreads.", none=f"one for every {SHARD_ROWS:,} texts", at_least=1)
    ] = None
    workers: Annotated[int, Option("Workers of Ray, each with an encoder of its own.", at_least=1)] = 1
    gpus_per_worker: Annotated[float, Option("GPUs that Ray keeps for each worker.", at_least=0)] = 0

    def __post_init__(self) -> None:
        """Raise `OptionError` for options that contradict each other."""
        super().__post_init__()
        if self.shard is not None and self.ray is not None:
            raise OptionError("shard and ray exclude each other, because Ray encodes all shards. Remove one of them.")
        unused = sorted(self.given() & {"shards", "workers", "gpus_per_worker"})
        if self.ray is None and unused:
            raise OptionError(f"{unused[0]} is an option of a Ray cluster. Add --ray ADDRESS or --ray local.")

    @property
    def in_shards(self) -> bool:
        """Whether the output is a folder of shards."""
        return self.shard is not None or self.ray is not None
