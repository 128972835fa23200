"""Options of the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Annotated, ClassVar

from leafkit.errors import OptionError
from leafkit.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """What the app accepts, computes at once and lets wait."""

    panel: ClassVar[str] = "Serving"

    workers: Annotated[int | None, Option("Threads that encode and search.", none="one per core", at_least=1)] = None
    queue: Annotated[
        int,
        Option(
            "Texts and vectors that may be waiting or in work. A request beyond them gets status 429 and Retry-After.",
            at_least=1,
        ),
    ] = 512
    max_k: Annotated[int, Option("The most hits that a request may ask for.", at_least=1)] = 1000
    max_texts: Annotated[int, Option("The most texts or vectors in one request.", at_least=1)] = 256
    max_characters: Annotated[int, Option("The longest text of a request, in characters.", at_least=1)] = 20_000
    max_body: Annotated[float, Option("The largest body of a request, in MiB.", above=0)] = 4.0
    watch: Annotated[
        float,
        Option(
            "Seconds between two looks at the index folders; a folder that was updated or replaced is reopened while "
            "requests go on. 0 never looks.",
            at_least=0,
        ),
    ] = 1.0
    cors: Annotated[
        Sequence[str],
        Option(
            "An origin whose web pages may ask, e.g. https://example.org, or * for all. May be repeated.",
            flags=("--cors",),
            may_be_empty=True,
        ),
    ] = ()
    api_key_file: Annotated[
        str | PathLike[str] | None,
        Option(
            "A file with one API key per line. All endpoints but /health and the page then ask for one of them.",
            none="the keys in $LEAFKIT_API_KEY, separated by spaces, or no key",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raise `OptionError` also for a queue that the largest request does not fit into."""
        super().__post_init__()
        if self.queue < self.max_texts:
            raise OptionError(
                f"queue is {self.queue}, so a request of max_texts = {self.max_texts} would never fit. "
                "Use a longer queue or smaller requests."
            )

    @property
    def max_bytes(self) -> int:
        """The largest body of a request, in bytes."""
        return int(self.max_body * (1 << 20))


@dataclass(frozen=True, kw_only=True)
class ListenOptions(Options):
    """Where ``leafkit serve`` listens, and how it stops."""

    panel: ClassVar[str] = "Serving"

    host: Annotated[str, Option("Address to listen on; 0.0.0.0 is every network, so set an API key before.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Option("Port to listen on; 0 takes a free one.", at_least=0, at_most=65535)] = 8000
    grace: Annotated[
        int, Option("Seconds that requests in progress get to end after Ctrl-C or SIGTERM.", at_least=0)
    ] = 30
