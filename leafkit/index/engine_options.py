"""Options of commands that write an index into an engine, compare both, or read it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from leafkit.engines.open import TIMEOUT
from leafkit.options import Option, Options
from leafkit.search.plan import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Options):
    """How an engine is spoken to."""

    panel: ClassVar[str] = "The engine"

    timeout: Annotated[
        float, Option("Seconds after which a connection attempt or a statement fails.", above=0, at_most=86_400)
    ] = TIMEOUT
    batch: Annotated[int, Option("Documents that are sent or received at a time.", at_least=1, at_most=10_000)] = 1_000


@dataclass(frozen=True, kw_only=True)
class EnginePushOptions(EngineOptions):
    """How an index is written into an engine."""

    precision: Annotated[
        str | None,
        Option(
            "How the engine stores vectors: float32, float16, int8 or binary (sign bits choose candidates), as far as "
            "the engine has them.",
            none="float32, or what the table or collection has",
            choices=PRECISIONS,
        ),
    ] = None
    prune: Annotated[bool, Option("Remove what the engine holds and the index does not.", flags=("--prune",))] = False


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(EngineOptions):
    """How an engine is compared with an index."""

    k: Annotated[int, Option("Hits per query.", flags=("-k",), at_least=1, at_most=1_000)] = 10
    sample: Annotated[int, Option("Queries and documents that are compared.", at_least=1, at_most=100_000)] = 100
    at_least: Annotated[float, Option("Share of equal hits below which the command fails.", at_least=0, at_most=1)] = (
        0.95
    )
    seed: Annotated[int, Option("Seed of what is drawn.", at_least=0)] = 0
