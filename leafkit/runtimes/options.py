"""Options for checking a student in other runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar

from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Options):
    """Which runtimes outside this Python process are asked, and for how long."""

    panel: ClassVar[str] = "Runtimes"

    urls: Annotated[
        Sequence[str],
        Option(
            "Address of a server that serves the student: http://HOST:PORT, http://HOST:PORT/embed "
            "(text-embeddings-inference) or http://HOST:PORT/v1/embeddings (OpenAI-compatible), with #MODEL to name "
            "the model. May be repeated. $LEAFKIT_API_KEY is sent as its key.",
            flags=("--url",),
            may_be_empty=True,
        ),
    ] = ()
    node_modules: Annotated[
        str | PathLike[str] | None,
        Option("The node_modules folder that contains @huggingface/transformers.", none="Node.js is not asked"),
    ] = None
    timeout: Annotated[
        float, Option("Seconds after which a server or Node.js that has not answered counts as failed.", above=0)
    ] = 60.0
