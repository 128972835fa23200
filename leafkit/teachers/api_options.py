"""Options of teachers behind an API, which other teachers refuse."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar, Literal

from leafkit.options import Option, Options

LongTexts = Literal["refuse", "send"]


@dataclass(frozen=True, kw_only=True)
class ApiOptions(Options):
    """How an API is asked, and how much it may cost."""

    panel: ClassVar[str] = "The teacher"

    dimensions: Annotated[
        int | None, Option("Width of the vectors that an API is asked for.", none="the model's own", at_least=1)
    ] = None
    api_budget: Annotated[
        str | None,
        Option(
            "Most that this command may spend at an API: money (5USD) or tokens (20M-tokens). It stops cleanly, and "
            "the same command goes on from there.",
            none="no limit",
        ),
    ] = None
    prices: Annotated[
        str | PathLike[str] | None,
        Option('TOML file of prices per million tokens: "openai/MODEL" = 0.02.', none="leafkit's table"),
    ] = None
    token_counter: Annotated[
        str | PathLike[str] | None,
        Option("The tokenizer.json of an API's model, for exact counts.", none="an estimate that is rather high"),
    ] = None
    long_texts: Annotated[
        LongTexts,
        Option(
            "Texts over the token limit of an API's model: refuse (before anything is sent) or send (the API truncates "
            "or refuses them)."
        ),
    ] = "refuse"
    concurrency: Annotated[int, Option("Requests to an API at the same time.", at_least=1, at_most=256)] = 4
    patience: Annotated[
        float, Option("Seconds for which a failed request to an API is repeated before the command stops.", at_least=0)
    ] = 600.0
